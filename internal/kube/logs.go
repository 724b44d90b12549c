package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// LogOptions says which part of a container's log is read.
type LogOptions struct {
	Container  string    // empty: the only one
	Tail       int       // at most so many last lines; 0: all
	Since      time.Time // only lines from then on, to the second; zero: all
	Previous   bool      // of the container's life before this one
	Follow     bool      // until the container ends or the context does
	Timestamps bool      // each line begins with when it was written, for ReadLog
}

// Logs opens the log of a pod's container. The caller closes it.
func (c *Client) Logs(ctx context.Context, namespace, pod string, o LogOptions) (io.ReadCloser, error) {
	query := url.Values{}
	if o.Container != "" {
		query.Set("container", o.Container)
	}
	if o.Tail > 0 {
		query.Set("tailLines", strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		query.Set("sinceTime", o.Since.UTC().Format(time.RFC3339))
	}
	for name, set := range map[string]bool{"previous": o.Previous, "follow": o.Follow, "timestamps": o.Timestamps} {
		if set {
			query.Set(name, "true")
		}
	}
	response, err := c.get(ctx, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log?%s", url.PathEscape(namespace), url.PathEscape(pod), query.Encode()), "")
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s/%s: %w", namespace, pod, err)
	}
	return response.Body, nil
}

// LogEntry is a line of a log.
type LogEntry struct {
	Time time.Time // when it was written; zero where that is not told
	Text string
}

// maxLogLine bounds a line, bytes: a longer one comes in pieces, so that a
// container that never ends one can't fill the memory of who reads.
const maxLogLine = 64 << 10

// ReadLog calls each with every line of a log that was opened with timestamps,
// until it ends or each fails.
func ReadLog(log io.Reader, each func(LogEntry) error) error {
	lines := bufio.NewReaderSize(log, maxLogLine)
	var last time.Time
	begun := false // the line goes on from the piece before
	for {
		line, more, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		entry := LogEntry{Time: last, Text: string(line)}
		if !begun {
			entry = parseLogLine(line)
		}
		last, begun = entry.Time, more
		if err := each(entry); err != nil {
			return err
		}
	}
}

// parseLogLine takes the time off a line; a line without one is left whole.
func parseLogLine(line []byte) LogEntry {
	stamp, text, _ := bytes.Cut(line, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return LogEntry{Text: string(line)}
	}
	return LogEntry{Time: at, Text: string(text)}
}
