package projection

import (
	"errors"
	"fmt"
)

// What Compile returns wraps one of these.
var (
	// ErrSchema: the text is not an Avro schema that can be read here, or it
	// is over a limit.
	ErrSchema = errors.New("writer schema refused")
	// ErrWanted: the schema is fine, but this field cannot be had from it.
	ErrWanted = errors.New("field cannot be read")
)

// What Decode returns is a *DecodeError that wraps one of these.
var (
	ErrTruncated = errors.New("the record ends too early")
	ErrTrailing  = errors.New("bytes follow the end of the record")
	ErrTooLarge  = errors.New("the record is over the limit of bytes")
	ErrTooDeep   = errors.New("nested too deep")
	ErrTooMany   = errors.New("an array or map has too many items")
	ErrBadUnion  = errors.New("no such branch of the union")
	ErrBadEnum   = errors.New("no such symbol of the enum")
	ErrBadLength = errors.New("a length is negative or does not fit what it measures")
	ErrBadVarint = errors.New("a number has too many bytes for its type")
	ErrBadBool   = errors.New("a boolean is neither 0 nor 1")
	ErrOutput    = errors.New("the output does not have one place for each wanted field")
)

// What is wrong with a single value (see Fault); the record around it can be
// read.
var (
	ErrUTF8     = errors.New("the text is not UTF-8")
	ErrDecimal  = errors.New("the decimal is empty, or over 38 digits or its limit of scale")
	ErrRange    = errors.New("the time does not fit into 64 bits of microseconds: is it infinity?")
	ErrBadTime  = errors.New("the text is not an ISO-8601 time with its zone, such as 2026-11-22T10:15:30Z")
	ErrBadValue = errors.New("the value cannot be read")
)

// DecodeError says where a record is not what its schema says.
type DecodeError struct {
	// Offset is the byte, counted from the start of the Avro data, at which
	// the offending item starts.
	Offset int
	// Path is the field: from the root where a wanted field lies on the way
	// ("after.party"), else from the named type that holds it
	// ("shop.Value.party"). "a…b" is somewhere in the run of fields a to b. It
	// is empty if the fault is the whole record's.
	Path string
	// Err is one of the errors above.
	Err error
}

func (e *DecodeError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("decoding Avro at byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("decoding Avro field %s at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }
