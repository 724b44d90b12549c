package root

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/kfdev/kfdev/cmd/kfdev/internal/view"
	"github.com/kfdev/kfdev/envs"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/session"
	"github.com/kfdev/kfdev/sync/session/control"
)

// Times of what is shown of a session.
const (
	statusEvery   = time.Second      // the live line, where nothing happens
	progressEvery = 10 * time.Second // a line of how far a batch is, where there is no live one
)

// syncShow shows a session: on a terminal with a live line and, above it, what a
// person should see; else with a line for each event.
type syncShow struct {
	a    *app
	name string // of the session and its two folders, before more is known
	live bool
	log  string // the file that standard output is; empty: it is no log

	mu      sync.Mutex
	session control.Session

	told  time.Time // when progress was told last
	batch bool      // there is a live line of a batch
	last  string    // the last batch
	wrote int       // lines of the log since it was looked at
}

// The identities of the live lines.
const (
	syncTask  = "sync"
	batchTask = "sync/batch"
)

func newSyncShow(a *app, s *envs.Sync, logs bool) *syncShow {
	show := &syncShow{
		a: a, name: s.Name + ": " + s.Local + " and " + s.Remote,
		live: a.format == view.Text && !logs && a.isLive(),
	}
	if logs {
		show.log = filepath.Join(s.Dir, envs.SyncLog)
	}
	return show
}

// watch takes the session that can be asked.
func (s *syncShow) watch(running control.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = running
}

// run shows events until there are no more.
func (s *syncShow) run(ctx context.Context, events <-chan session.Event) {
	if !s.live {
		for e := range events {
			s.plain(e)
		}
		return
	}
	sink := s.a.sink()
	sink.Send(progress.Event{Time: time.Now(), State: progress.Started, Task: syncTask, Text: s.name})
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case e, open := <-events:
			if !open {
				return // the console takes the live lines away
			}
			s.onTerminal(sink, e)
			if len(events) > 0 {
				continue // one look at the status does for all of them
			}
		case <-tick.C:
		}
		s.line(ctx, sink)
	}
}

// plain writes an event to standard output.
func (s *syncShow) plain(e session.Event) {
	text := eventText(e)
	if e.Kind == session.ProgressEvent && s.a.format == view.Text {
		if e.Time.Sub(s.told) < progressEvery {
			return
		}
		s.told = e.Time
	}
	if s.log != "" && text != "" {
		text = e.Time.Local().Format("2006-01-02 15:04:05.000") + "  " + text
		if s.wrote++; s.wrote%1000 == 0 {
			_ = boundLog(s.log, maxLog) // with a full disk there are other things to do
		}
	}
	_ = s.a.itemEvent(e, text) // where it is gone, nobody is left to tell
}

// onTerminal shows an event above the live line, or in one.
func (s *syncShow) onTerminal(sink progress.Sink, e session.Event) {
	if e.Kind != session.ProgressEvent && s.batch {
		s.batch = false
		sink.Send(progress.Event{Time: e.Time, State: progress.Skipped, Task: batchTask})
	}
	switch e.Kind {
	case session.StateEvent:
	case session.BatchEvent:
		s.last = eventText(e)
		if s.a.verbose {
			progress.Say(sink, s.last)
		}
	case session.ProgressEvent:
		s.batch = true
		sink.Send(progress.Event{
			Time: e.Time, State: progress.Advanced, Task: batchTask, Unit: progress.Bytes, Done: e.Progress.Bytes, Total: e.Progress.Total,
			Text: fmt.Sprintf("%s of %s files %s", grouped(e.Progress.Files), grouped(e.Progress.Of), toSide(e.Text)),
		})
	case session.ConflictEvent, session.ProblemEvent, session.HaltEvent:
		progress.Warn(sink, eventText(e))
	case session.SettledEvent, session.RunEvent, session.NoteEvent:
		for _, line := range lines(eventText(e)) {
			progress.Say(sink, line)
		}
	}
}

// line renews the live line.
func (s *syncShow) line(ctx context.Context, sink progress.Sink) {
	s.mu.Lock()
	running := s.session
	s.mu.Unlock()
	if running == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusEvery)
	defer cancel()
	status, err := running.Status(ctx)
	if err != nil {
		return // it ends
	}
	text := statusLine(status)
	if s.last != "" && status.State == session.InSync {
		text += " · " + s.last
	}
	sink.Send(progress.Event{Time: time.Now(), State: progress.Advanced, Task: syncTask, Text: text})
}
