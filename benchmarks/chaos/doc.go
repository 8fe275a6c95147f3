// Package chaos has what a run of faults is made of: a schedule that a seed
// decides, a proxy that spoils connections, and a Kafka of three brokers that
// can be killed one by one. What is done with them, and what must hold
// afterwards, is in benchmarks/endtoend.
package chaos
