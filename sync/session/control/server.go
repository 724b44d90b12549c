package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
)

// Times of the server.
const (
	headerWithin = 5 * time.Second
	endWithin    = 2 * time.Second // for answers that are on their way
)

// Server answers for one session.
type Server struct {
	session Session
	feed    *Feed
	stop    func()
	http    *http.Server
	served  sync.WaitGroup
}

// Serve answers for the session, from now on until Close. Feed gets its events;
// stop ends it.
func (c *Claim) Serve(ctx context.Context, s Session, feed *Feed, stop func()) (*Server, error) {
	l, err := listen(ctx, c.dir)
	if err != nil {
		return nil, &fault.Error{Op: "opening the session's socket", Subject: c.dir, Err: err}
	}
	srv := &Server{session: s, feed: feed, stop: stop}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", srv.status)
	mux.HandleFunc("GET /tree", srv.tree)
	mux.HandleFunc("GET /events", srv.events)
	mux.HandleFunc("POST /undo", srv.undo)
	mux.HandleFunc("POST /resolve", srv.resolve)
	mux.HandleFunc("POST /resume", srv.resume)
	mux.HandleFunc("POST /stop", srv.end)
	life := context.WithoutCancel(ctx)
	srv.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerWithin, MaxHeaderBytes: maxRequest,
		ErrorLog: log.New(io.Discard, "", 0), BaseContext: func(net.Listener) context.Context { return life },
	}
	srv.served.Go(func() { _ = srv.http.Serve(l) }) // it ends with Close
	return srv, nil
}

// Close ends it. Answers that are on their way are given a little time.
func (s *Server) Close() error {
	s.feed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.served.Wait()
	return err
}

// answer writes what came of a request. Where whoever asked has gone, nobody is
// left to tell.
func answer(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		value = failureOf(err)
	}
	_ = json.NewEncoder(w).Encode(value)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, err := s.session.Status(r.Context())
	answer(w, status, err)
}

func (s *Server) tree(w http.ResponseWriter, r *http.Request) {
	held, err := s.session.Holds(r.Context())
	if err != nil {
		answer(w, nil, err)
		return
	}
	answer(w, itemsOf(held), nil)
}

func (s *Server) undo(w http.ResponseWriter, r *http.Request) {
	undone, err := s.session.Undo(r.Context())
	answer(w, undone, err)
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request) {
	q, err := decodeResolve(r.Body)
	if err == nil {
		err = s.session.Resolve(r.Context(), string(q.Path), q.Keep)
	}
	answer(w, struct{}{}, err)
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	q, err := decodeResume(r.Body)
	if err == nil {
		err = s.session.Resume(r.Context(), q.How)
	}
	answer(w, struct{}{}, err)
}

func (s *Server) end(w http.ResponseWriter, _ *http.Request) {
	answer(w, struct{}{}, nil)
	s.stop()
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	events, stop := s.feed.Listen()
	defer stop()
	w.Header().Set("Content-Type", "application/jsonl")
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	if out.Flush() != nil { // so that who asked knows from when on
		return
	}
	for {
		select {
		case e, open := <-events:
			if !open || enc.Encode(e) != nil || out.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
