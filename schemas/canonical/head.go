package canonical

// Head returns the envelope itself: with it every record struct of this package
// shows its envelope without a type switch.
func (e *Envelope) Head() *Envelope { return e }
