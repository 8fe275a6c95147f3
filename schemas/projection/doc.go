// Package projection reads a few fields out of Avro binary.
//
// [Compile] takes the text of a writer's schema and the fields that are wanted
// and makes a [Plan]: a flat list of small instructions that decodes the
// wanted fields and steps over all others. [Plan.Decode] runs it over one
// record. Bytes from outside reach no other Avro code.
//
// # What a value becomes
//
//	null                                   Null
//	boolean                                Bool
//	int, long                              Int
//	float, double                          Double (a float by its shortest decimal)
//	string, enum                           String
//	bytes, fixed                           Bytes
//	record (the path ends there)           Nested: it is there
//	date                                   Date
//	timestamp-*, local-timestamp-*         Timestamp (nanoseconds rounded down)
//	time-*                                 Duration
//	decimal on bytes or fixed              Decimal
//	io.debezium.time.*, io.debezium.data.VariableScaleDecimal and
//	org.apache.kafka.connect.data.*        what they stand for, by connect.name
//
// A logical type on the wrong base is ignored, as the Avro specification
// demands; a connect.name on the wrong base is an error, as nothing demands
// that and the number would be read in the wrong unit. A string or bytes value
// that is Debezium's placeholder for "not sent" becomes Unavailable, in each
// form in which a connector writes it (see [Plan.WithPlaceholder]).
//
// An array or a map cannot be asked for; they are stepped over.
//
// # What is refused
//
// A record is read to its last byte, also where nothing is wanted: a length
// that leaves the record, a union or enum index without a branch, a number of
// too many bytes, a boolean other than 0 and 1, a block whose size is not that
// of its items, too deep a nesting, too many items, and bytes after the end
// are errors, each with its offset and its place in the schema. The time spent
// on a record is bounded by its length: items without bytes are counted, not
// walked over.
//
// Whether text is UTF-8, and whether numbers and times lie in range, is judged
// for wanted fields only, and it is the value's fault and not the record's: the
// field becomes Unreadable, [Fault] says why, and all others are there.
//
// A number that is padded with zero groups but no longer than its type allows
// is accepted, as by every other reader.
package projection
