// Package localregistry serves and prunes the registry that one machine's
// clusters pull from. It is distribution's registry over a folder: anyone who
// reaches it may read, write and delete, so it is bound to loopback and to the
// clusters' own network only.
//
// An index may be pushed with the images of one platform alone: a machine
// copies what it runs. Descriptors are not cached in memory, so that Prune may
// run beside a server as long as nobody pushes.
package localregistry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the one driver that is used
	"github.com/sirupsen/logrus"

	"github.com/kfdev/kfdev/internal/fault"
)

// Config is what Serve needs.
type Config struct {
	Addr string // host:port to listen on; port 0 takes a free one
	Root string // folder of the content; made when it is not there
	// Log takes one line for each request that failed; nil drops them.
	Log io.Writer
	// Ready is called once the server listens; nil is not called.
	Ready func(net.Addr)
}

// Times of the server.
const (
	headerTimeout = 30 * time.Second
	stopTimeout   = 10 * time.Second
	staleUpload   = 24 * time.Hour // uploads that nobody finished are removed at the start after so long
)

// contentPath is where the library keeps repositories below its root.
const contentPath = "/docker/registry/v2/repositories"

// Serve serves the registry until ctx ends, lets what is under way finish for
// some seconds, and returns nil. An error means that it could not start, or
// that it stopped by itself.
func Serve(ctx context.Context, cfg Config) error {
	if err := checkRoot(cfg.Root); err != nil {
		return &fault.Error{Op: "opening the registry's folder", Subject: cfg.Root, Kind: fault.Preflight, Err: err}
	}
	// The library logs through logrus' one logger and takes no other.
	logrus.SetLevel(logrus.ErrorLevel)
	logrus.SetOutput(io.Discard)
	if cfg.Log != nil {
		logrus.SetOutput(cfg.Log)
	}
	if err := purgeUploads(ctx, cfg.Root); err != nil {
		return &fault.Error{Op: "removing stale uploads", Subject: cfg.Root, Err: err}
	}
	app, err := newApp(context.WithoutCancel(ctx), cfg.Root) // requests under way outlive ctx for a while
	if err != nil {
		return &fault.Error{Op: "starting the registry", Err: err}
	}
	defer app.Shutdown() //nolint:errcheck // nothing of it is open without a cache or a proxy
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return &fault.Error{Op: "listening", Subject: cfg.Addr, Kind: fault.Preflight, Err: err}
	}
	server := &http.Server{Handler: app, ReadHeaderTimeout: headerTimeout}
	if cfg.Ready != nil {
		cfg.Ready(listener.Addr())
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		return &fault.Error{Op: "serving the registry", Err: err}
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		err = errors.Join(err, server.Close())
		return &fault.Error{Op: "stopping the registry", Err: err}
	}
	<-stopped
	return nil
}

// checkRoot makes the folder and tries to write there, since the library finds
// out at the first push only.
func checkRoot(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	probe, err := os.CreateTemp(root, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// newApp makes the library's handler. The library panics where its
// configuration is wrong; that becomes an error.
func newApp(ctx context.Context, root string) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("registry: %v", p)
		}
	}()
	config, err := configure(root)
	if err != nil {
		return nil, err
	}
	return handlers.NewApp(ctx, config), nil
}

func configure(root string) (*configuration.Configuration, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	config := &configuration.Configuration{Version: configuration.MajorMinorVersion(0, 1)}
	config.Storage = configuration.Storage{
		"filesystem":  {"rootdirectory": abs},
		"delete":      {"enabled": true},
		"redirect":    {"disable": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = hex.EncodeToString(secret)
	config.Validation.Manifests.Indexes.Platforms = "none"
	return config, nil
}

// purgeUploads removes uploads that were begun and never ended.
func purgeUploads(ctx context.Context, root string) error {
	driver, err := factory.Create(ctx, "filesystem", map[string]any{"rootdirectory": root})
	if err != nil {
		return err
	}
	if _, err := driver.Stat(ctx, contentPath); err != nil {
		return nil //nolint:nilerr // an empty folder has none
	}
	_, errs := storage.PurgeUploads(ctx, driver, time.Now().Add(-staleUpload), true)
	return errors.Join(errs...)
}
