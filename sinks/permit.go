package sinks

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotSent is an error of which it is sure that no byte of the request has left this machine.
var ErrNotSent = errors.New("not sent")

type permitKey struct{}

// WithPermit gives a call the question that is asked right before its first
// byte: may it still go. A process that was stopped and resumed may have lost
// what it held when it began the call.
func WithPermit(ctx context.Context, permit func() error) context.Context {
	return context.WithValue(ctx, permitKey{}, permit)
}

// Permitted asks it. A writer calls it as late as it can; an error is an ErrNotSent.
func Permitted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	permit, ok := ctx.Value(permitKey{}).(func() error)
	if !ok {
		return nil
	}
	if err := permit(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return nil
}
