package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kfdev/kfdev/sync/reconcile"
	"github.com/kfdev/kfdev/sync/session/ancestor"
	"github.com/kfdev/kfdev/sync/tree"
)

// Times of a session.
const (
	saveAfter     = time.Second            // from an agreement to its being written down
	tickEvery     = 250 * time.Millisecond // how often progress is told
	firstRetry    = time.Second            // after a problem
	lastRetry     = time.Minute
	firstConnect  = 100 * time.Millisecond
	lastConnect   = 15 * time.Second
	steadyAfter   = 10 * time.Second // a connection that held so long is made again at once
	leavingBudget = time.Second      // for what is on its way when the session is to end
	closingBudget = 5 * time.Second  // for writing down the last agreements
)

// loop is a session at work. Its fields belong to the goroutine of run.
type loop struct {
	config  Config
	ctx     context.Context // ends with the session
	events  chan func()     // of what runs beside the loop
	work    sync.WaitGroup
	failed  error // why the session ends
	leaving bool  // nothing more is begun

	rules     Rules
	reloading bool
	stale     bool // the rules changed while they were being read

	local, remote *side
	link          Link
	linked        time.Time // since when
	linkCtx       context.Context
	dropLink      context.CancelFunc
	connect       backoff
	waiting       string // what Connect waits for

	base   *ancestor.Agreed
	pair   ancestor.Pair
	known  bool // base is of this pair
	prefer reconcile.Preference
	saver  saver

	pending   map[string]bool // paths to be reconciled
	all       bool            // everything is
	conflicts []reconcile.Conflict
	decided   map[string]reconcile.Preference // of conflicts, by people
	merging   map[string]merge
	holding   map[string]int // paths that forced changes are on their way for
	halt      *reconcile.Halt
	accepted  *reconcile.Halt // which may be done
	unmended  *reconcile.Halt // the last one for a root, until it is over
	problems  map[string]*problem
	noted     map[string]bool // folders that stay, see tellStays
	retry     *time.Timer
	retryAt   time.Time // when retry is due; zero: it is not

	undos   undos
	batches int
	merged  int
	run     runner
	traffic Traffic // of connections that ended

	state State
	since time.Time
	began time.Time
	tick  *time.Ticker
}

// Run runs the session until the context ends, which is no error, or until it
// can't go on.
func (s *Session) Run(ctx context.Context) (err error) {
	defer close(s.done)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := &loop{
		config: s.config, ctx: life, events: make(chan func()),
		local: newSide(local), remote: newSide(remote),
		base: ancestor.Nothing(), pending: map[string]bool{}, problems: map[string]*problem{}, noted: map[string]bool{},
		decided: map[string]reconcile.Preference{},
		merging: map[string]merge{}, holding: map[string]int{}, prefer: s.config.Prefer,
		saver: saver{due: stopped()}, retry: stopped(), tick: time.NewTicker(tickEvery), since: time.Now(),
		connect: backoff{first: firstConnect, last: lastConnect}, began: s.began,
	}
	defer l.tick.Stop()
	if l.saver.store, err = ancestor.Open(s.config.State); err != nil {
		return err
	}
	l.undos = loadUndos(s.config.State)
	l.unmended = loadHalt(s.config.State)
	rules, err := s.config.Rules()
	if err != nil {
		return err
	}
	l.setRules(rules)
	folder, err := s.config.Open(ctx, l.rules)
	if err != nil {
		return err
	}
	l.local.ep = folder
	l.setState(Connecting)
	l.scan(l.local)
	l.dial()
	l.serve(s.asks, ctx.Done())
	l.finishSending()
	err = l.failed
	cancel()
	return errors.Join(err, l.close())
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// serve does what comes, until the session is to end.
func (l *loop) serve(asks <-chan ask, end <-chan struct{}) {
	for l.failed == nil {
		select {
		case <-end:
			return
		case do := <-l.events:
			do()
		case a := <-asks:
			a.done <- a.do(l)
		case <-l.saver.due.C:
			l.save()
		case <-l.retry.C:
			l.again()
		case <-l.tick.C:
			l.progress()
			l.saveUndos()
		}
		l.showState()
	}
}

// finishSending waits a moment for what is on its way: whose outcome is not known
// would be a conflict if it is changed before the session begins again.
func (l *loop) finishSending() {
	l.leaving = true
	timer := time.NewTimer(leavingBudget)
	defer timer.Stop()
	for l.failed == nil && !l.idle() {
		select {
		case do := <-l.events:
			do()
		case <-timer.C:
			return
		}
	}
}

// post has the loop do something. After its end that is dropped, and false.
func (l *loop) post(do func()) bool {
	select {
	case l.events <- do:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// fail ends the session.
func (l *loop) fail(err error) {
	if l.failed == nil && l.ctx.Err() == nil {
		l.failed = err
	}
}

// close ends what runs beside the loop, writes down what was agreed, and lets go
// of both sides.
func (l *loop) close() error {
	l.local.reset()
	if l.dropLink != nil {
		defer l.dropLink()
	}
	l.work.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), closingBudget)
	defer cancel()
	err := errors.Join(l.saveLast(ctx), l.undos.save())
	if l.link != nil {
		err = errors.Join(err, l.link.Close())
	}
	return errors.Join(err, l.local.ep.Close(), l.saver.store.Close())
}

// dial makes the connection.
func (l *loop) dial() {
	rules := l.rules.Bytes()
	l.work.Go(func() {
		link, err := l.config.Connect(l.ctx, rules, func(text string) {
			l.post(func() { l.says(text) })
		})
		if !l.post(func() { l.connected(link, rules, err) }) && err == nil {
			_ = link.Close() // nobody wants it any more
		}
	})
}

// says shows what the connection waits for.
func (l *loop) says(text string) {
	if l.link == nil && l.waiting != text {
		l.waiting = text
		l.event(Event{Kind: StateEvent, State: Connecting, Text: text})
	}
}

func (l *loop) connected(link Link, rules []byte, err error) {
	switch {
	case err != nil && isFinal(err):
		l.fail(err)
		return
	case err != nil:
		l.says("trying again: " + err.Error())
		l.later(l.connect.next(), l.dial)
		return
	}
	l.link, l.linked, l.waiting = link, time.Now(), ""
	l.linkCtx, l.dropLink = context.WithCancel(l.ctx)
	l.remote.ep = link
	life := l.linkCtx
	l.work.Go(func() {
		select {
		case <-link.Done():
			l.post(func() {
				if l.link == link {
					l.drop(link.Err())
				}
			})
		case <-life.Done():
		}
	})
	for _, note := range link.Notes() {
		l.event(Event{Kind: NoteEvent, Text: note})
	}
	l.setState(Scanning)
	if now := l.rules.Bytes(); string(now) != string(rules) {
		l.await(link, func(ctx context.Context, ep Folder) func() { // they changed while the pod was waited for
			err := ep.SetRules(ctx, now)
			return func() { l.ruled(err) }
		})
		return
	}
	l.scan(l.remote)
}

// ruled looks at the pod's folder, once it has the rules of now.
func (l *loop) ruled(err error) {
	if err != nil {
		l.drop(err)
		return
	}
	l.scan(l.remote)
}

// later does something in the loop after a while.
func (l *loop) later(after time.Duration, do func()) {
	timer := time.NewTimer(after)
	l.work.Go(func() {
		defer timer.Stop()
		select {
		case <-timer.C:
			l.post(do)
		case <-l.ctx.Done():
		}
	})
}

// drop lets go of a connection and makes another.
func (l *loop) drop(err error) {
	link := l.link
	if link == nil {
		return
	}
	l.traffic = l.trafficNow()
	l.link = nil
	l.dropLink()
	l.saver.doubt()
	l.dropRun(l.remote.sending != nil)
	if going := l.remote.sending; going != nil {
		l.remote.unsure = append(l.remote.unsure, going.changes...)
		l.finish(going, nil)
	}
	l.remote.reset()
	l.remote.ep, l.remote.sending = nil, nil
	l.remote.looking, l.remote.lookAgain, l.remote.undoing = false, false, 0
	if time.Since(l.linked) >= steadyAfter {
		l.connect.reset()
	}
	l.release(l.remote)
	l.all = true
	text := "the connection was lost"
	if err != nil {
		text += ": " + err.Error()
	}
	l.waiting = text
	l.setState(Connecting)
	l.work.Go(func() {
		_ = link.Close() // it has failed already
		l.post(func() { l.later(l.connect.next(), l.dial) })
	})
}

// scanned takes the tree of a side.
func (l *loop) scanned(s *side, t *tree.Tree, err error) {
	s.looking = false
	switch {
	case err == nil && s.lookAgain:
		l.scan(s)
		return
	case err != nil:
		if s == l.remote && !isFinal(err) {
			l.says("trying again: " + err.Error())
			l.drop(err)
			return
		}
		l.lost(err)
		return
	}
	s.tree, s.told = t, ""
	l.prune(s.tree)
	l.watch(s)
	l.all = true
	if !l.local.ready() || !l.remote.ready() {
		return
	}
	l.ground()
	l.undos.settle(l.local.ep.Info().Batches, l.remote.ep.Info().Batches)
	l.step()
}

// prune takes out of a tree what the rules ignore by now.
func (l *loop) prune(t *tree.Tree) {
	var gone []string
	_ = t.Walk(func(path string, e tree.Entry) error { // visit never fails
		if path != "" && l.rules.Ignored(path, e.Kind == tree.Dir) {
			gone = append(gone, path)
		}
		return nil
	})
	for _, path := range gone {
		t.Delete(path)
	}
}
