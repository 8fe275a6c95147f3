// Package embedded runs everything Syncline needs around it on one machine,
// without containers and without a Java or C toolchain: a Kafka broker, a
// schema registry and ClickHouse, for evaluation, development and tests.
//
// [Start] starts them as child processes of the same binary, so that a crash
// of native code in one of them takes none of the others along:
//
//	syncline internal broker|registry|engine …
//
// A program that calls Start must hand its arguments to [ChildMain] before
// anything else; a test binary does so with [Main] in TestMain.
//
// A child says on its standard output where it listens, writes its log to
// standard error (a file in the platform's directory, bounded in size), and
// ends when its standard input ends, thus also when its parent is killed. A
// child that crashes is started again at the same address.
//
// Everything listens on 127.0.0.1. The directory holds:
//
//	platform.lock   held while a platform runs over it
//	platform.json   addresses and process ids of the running platform
//	broker/         topics, offsets, transactions; see package broker
//	clickhouse/     databases
//	credentials/    a file for each user of ClickHouse, with its password
//	logs/           one file per child
package embedded
