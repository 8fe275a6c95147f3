package chfront

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
)

const (
	// firstBytes is what is held back of an answer, so that an early
	// exception can still be a proper error response.
	firstBytes = 256 << 10
	// waitBytes is held back instead when the client sets wait_end_of_query.
	waitBytes = 32 << 20
	frameSize = 1 << 20
)

// output is the way of an answer's bytes: buffer, native compression frames
// if asked for, gzip if asked for, the connection.
type output struct {
	w       http.ResponseWriter
	buffer  *bufio.Writer
	gzip    *gzip.Writer
	frames  *compress.Writer
	tag     string
	started bool
}

func newOutput(q *query) (*output, error) {
	o := &output{w: q.w, tag: newTag()}
	header := q.w.Header()
	header.Set("X-ClickHouse-Exception-Tag", o.tag)
	size := firstBytes
	if on(q.values.Get("wait_end_of_query")) {
		size = waitBytes
	}
	if on(q.values.Get("compress")) {
		switch method := strings.ToUpper(q.values.Get("network_compression_method")); method {
		case "", "LZ4":
			o.frames = compress.NewWriter(compress.LevelZero, compress.LZ4)
		case "ZSTD":
			o.frames = compress.NewWriter(compress.LevelZero, compress.ZSTD)
		case "NONE":
			o.frames = compress.NewWriter(compress.LevelZero, compress.None)
		default:
			return nil, exception(codeUnknownCompression, "Compression method %s is not offered: use LZ4, ZSTD or NONE", method)
		}
	}
	if on(q.values.Get("enable_http_compression")) && strings.Contains(q.r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		o.gzip = gzip.NewWriter(q.w)
	}
	o.buffer = bufio.NewWriterSize(writerFunc(o.write), size)
	return o, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// write takes a buffer full and starts the response.
func (o *output) write(p []byte) (int, error) {
	o.started = true
	total := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), frameSize)]
		p = p[len(part):]
		if o.frames != nil {
			if err := o.frames.Compress(part); err != nil {
				return 0, err
			}
			part = o.frames.Data
		}
		if _, err := o.below().Write(part); err != nil {
			return 0, errGone
		}
	}
	return total, nil
}

func (o *output) below() io.Writer {
	if o.gzip != nil {
		return o.gzip
	}
	return o.w
}

// finish sends the rest. An answer that never filled the buffer goes out with
// a Content-Length, as clickhouse-go tells an empty answer by it.
func (o *output) finish() error {
	if !o.started && o.buffer.Buffered() == 0 {
		o.w.Header().Del("Content-Encoding")
		o.w.Header().Set("Content-Length", "0")
		o.w.WriteHeader(http.StatusOK)
		return nil
	}
	if err := o.buffer.Flush(); err != nil {
		return err
	}
	if o.gzip != nil {
		return o.gzip.Close()
	}
	return nil
}

// abort ends a started answer with an exception. The block goes out without
// native compression: a client that finds no frame there looks for it.
func (o *output) abort(text string) {
	if err := o.buffer.Flush(); err != nil {
		return
	}
	_, _ = io.WriteString(o.below(), framed(o.tag, text))
	if o.gzip != nil {
		_ = o.gzip.Close()
	}
}
