package envs

import (
	"context"

	"github.com/kfdev/kfdev/envs/logs"
)

// Logs calls each with the lines of all containers of a component, in the
// order they arrive; calls do not overlap. See logs.Reader for what becomes of
// those that can't be read.
func (e *Engine) Logs(ctx context.Context, name string, o logs.Options, each func(logs.Line) error) error {
	s, err := e.asWritten()
	if err != nil {
		return err
	}
	p, err := s.part(name)
	if err != nil {
		return err
	}
	live, _, err := e.running(ctx, s)
	if err != nil {
		return err
	}
	defer live.Close()
	reader := logs.Reader{
		Cluster: live, Sink: e.sink,
		Component: logs.Component{Name: p.Name, Namespace: p.Namespace, Objects: p.rendered.Objects},
	}
	return reader.Read(ctx, o, each)
}
