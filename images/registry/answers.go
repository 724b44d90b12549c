package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/kfdev/kfdev/internal/fault"
)

// Answers asks the registries of the given repositories, or their mirrors,
// whether they are there, all at once and without retries. Nil means that
// every one of them answered as a registry does within the time; the error
// names those that did not.
func (o *Origin) Answers(ctx context.Context, repositories []string, within time.Duration) error {
	byHost := map[string][]name.Repository{}
	for _, r := range repositories {
		repos, err := o.c.candidates(r)
		if err != nil {
			return &fault.Error{Op: "asking registries", Subject: r, Kind: fault.Usage, Err: err}
		}
		byHost[repos[len(repos)-1].RegistryStr()] = repos
	}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	hosts := make([]string, 0, len(byHost))
	for h := range byHost {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	errs := make([]error, len(hosts))
	var g errgroup.Group
	for i, h := range hosts {
		g.Go(func() error {
			errs[i] = o.c.anyAnswers(limited, byHost[h])
			return nil
		})
	}
	_ = g.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(errs...); err != nil {
		return &fault.Error{Op: "asking registries", Err: err}
	}
	return nil
}

// Answers asks the registry that a repository lies in whether it is there,
// without retries.
func (t *Target) Answers(ctx context.Context, repository string, within time.Duration) error {
	repo, err := t.repository(repository)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return explain("asking the registry", repo.RegistryStr(), repo.RegistryStr(), t.c.answers(limited, repo.Registry))
}

// anyAnswers asks all candidates at once; one that answers is enough.
func (c *client) anyAnswers(ctx context.Context, repos []name.Repository) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(repos))
	for _, repo := range repos {
		go func() { results <- c.answers(ctx, repo.Registry) }()
	}
	var errs []error
	for range repos {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// answers reports whether a registry answers, be it with a demand for
// credentials, or with its limit.
func (c *client) answers(ctx context.Context, registry name.Registry) error {
	_, err := transport.Ping(ctx, registry, c.cfg.Transport)
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode == http.StatusTooManyRequests {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", registry.RegistryStr(), scrub(err))
	}
	return nil
}
