// Package chfront speaks the ClickHouse HTTP protocol in front of an engine
// that is a library (package engine), so that clickhouse-go, curl and every
// other HTTP client work with it as with a server.
//
// Offered: queries by GET (read only) and POST, settings and {name:Type}
// parameters in the URL, database, user and password, every output and input
// format of the engine, INSERT with streamed data, native compression
// (compress, decompress; LZ4 and ZSTD), gzip and deflate of the HTTP body,
// Native at the revision the client asks for, exceptions with code, status
// and in-band framing, cancelling of queries whose client went away.
//
// Every query needs one of two kinds of login: a writer, or a reader, for whom the
// engine runs under readonly = 1, which no parameter, header or clause changes.
// GET only reads, whoever asks. Pages in a browser are kept away (package
// loopback), files and the network are out of reach for everybody: by the
// engine's grants (package engine), by refusal here, by the kernel (package sandbox).
//
// Refused with a message: sessions (session_id), external tables, and result
// columns of type JSON, Dynamic, Variant, Object and AggregateFunction in
// Native (cast them).
//
// A streamed INSERT is one block, hence one part per partition, whatever its
// size up to the body limit: insert_deduplication_token then covers the whole
// request. See https://clickhouse.com/docs/interfaces/http for the protocol.
package chfront
