// Package engine finds and runs the ClickHouse engine of the embedded platform.
//
// There are three ways to an engine, tried in this order by [Choose]:
//
//  1. an address the caller gives: nothing is started;
//  2. a clickhouse binary on PATH: [StartServer] runs `clickhouse server` with
//     a minimal configuration in a directory of its own;
//  3. libchdb, the ClickHouse engine as a shared library: [Cache.Library] finds it in
//     the user's cache or fetches it once through npm, and [Open] loads it.
//
// libchdb has no network protocol; package chfront puts the ClickHouse HTTP
// protocol in front of it, so that every other part of the project talks to
// ClickHouse with one client whatever is behind the address.
//
// The library holds one engine per process, and a crash inside it takes the
// process along: run it in a child process (package embedded does).
//
// Build with the tag nolibchdb to leave the loader out: the binary then links
// statically and only the first two ways work.
package engine
