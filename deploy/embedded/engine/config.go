package engine

// Param is a query parameter, {name:Type} in the statement.
type Param struct{ Name, Value string }

// Config says how an engine runs.
type Config struct {
	// Dir is the data directory, the engine's own.
	Dir string
	// MaxMemory bounds the engine's memory in bytes; 0 means 3 GiB.
	MaxMemory int64
	// MaxThreads is the threads of one query unless the client says
	// otherwise; 0 means 2.
	MaxThreads int
	// Logins are a server's users. The library has none: see package chfront.
	Logins []Login
}

func (c Config) withDefaults() Config {
	if c.MaxMemory == 0 {
		c.MaxMemory = 3 << 30
	}
	if c.MaxThreads == 0 {
		c.MaxThreads = 2
	}
	return c
}
