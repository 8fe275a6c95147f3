// Package registry governs the Avro schemas that travel beside the records:
// a server with the everyday part of the Confluent Schema Registry REST API,
// a client with caches, and the wire framing that ties a record to its schema.
//
// # Server
//
// [NewServer] gives an [http.Handler] over a [Log]. The log is the only truth:
// every answer is a fold of it, and a registration counts from the moment it
// has been read back, not when the append returned. A claim (id, subject,
// version) that finds its id or version already taken is void, for every
// reader alike, because all fold the same records in the same order. Hence ids
// never change or repeat, also when the outcome of an append is unknown, when
// it lands late, or when two servers share one log.
//
// Two schemas are the same, and share an id in all subjects, if their JSON
// differs only in whitespace, key order or the spelling of string escapes.
//
// # Compatibility
//
// Levels are judged by github.com/twmb/avro (see [Check]). What every checker
// lets through, such as a timestamp unit, is found by [CheckRelease], which
// the server applies only under [PolicyStrict].
//
// # Not supported
//
// References, deletes of subjects and versions, mode changes, contexts,
// registration under a chosen id, normalisation and schema types other than
// AVRO are answered with HTTP 501 and error code 50101, never ignored.
package registry
