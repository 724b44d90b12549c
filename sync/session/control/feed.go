package control

import (
	"fmt"
	"sync"
	"time"

	"github.com/kfdev/kfdev/sync/session"
)

// behind is how many events a listener may be late.
const behind = 1024

// Feed hands the events of a session to whoever listens. It never waits for
// one: what a listener is too slow for is left out, and it is told.
type Feed struct {
	mu        sync.Mutex
	listeners map[*listener]bool
	closed    bool
}

type listener struct {
	events chan session.Event
	lost   int
}

// Send is the session's Events.
func (f *Feed) Send(e session.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		if l.lost > 0 && len(l.events) < cap(l.events)-1 {
			l.events <- session.Event{Time: time.Now(), Kind: session.NoteEvent, Text: fmt.Sprintf("%d events are left out: they came faster than they were read", l.lost)}
			l.lost = 0
		}
		select {
		case l.events <- e:
		default:
			l.lost++
		}
	}
}

// Listen returns the events from now on. The channel is closed with the feed;
// stop ends it before.
func (f *Feed) Listen() (events <-chan session.Event, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &listener{events: make(chan session.Event, behind)}
	if f.closed {
		close(l.events)
		return l.events, func() {}
	}
	if f.listeners == nil {
		f.listeners = map[*listener]bool{}
	}
	f.listeners[l] = true
	return l.events, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, l)
	}
}

// Close tells all listeners that nothing more comes.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		close(l.events)
	}
	f.listeners, f.closed = nil, true
}
