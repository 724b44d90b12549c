package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/docker/docker/api/types/container"
)

// fileLimit bounds what ReadFile takes from a container.
const fileLimit = 16 << 20

// ReadFile returns the content of a file in a container, running or not. It
// does not see what a running container has mounted in memory (/run, /tmp).
func (c *Client) ReadFile(ctx context.Context, name, file string) ([]byte, error) {
	op := "reading " + file + " in the container"
	stream, _, err := c.api.CopyFromContainer(ctx, name, file)
	if err != nil {
		return nil, c.fail(op, name, err)
	}
	defer stream.Close() //nolint:errcheck // only read
	archive := tar.NewReader(stream)
	header, err := archive.Next()
	if err != nil {
		return nil, c.fail(op, name, err)
	}
	if header.Typeflag != tar.TypeReg || header.Size > fileLimit {
		return nil, c.fail(op, name, fmt.Errorf("not a file of at most %d bytes", fileLimit))
	}
	content, err := io.ReadAll(archive)
	if err != nil {
		return nil, c.fail(op, name, err)
	}
	return content, nil
}

// WriteFile puts a file, owned by root, into a container, running or not. Its
// folder must be there.
func (c *Client) WriteFile(ctx context.Context, name, file string, mode fs.FileMode, content []byte) error {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: path.Base(file), Size: int64(len(content)), Mode: int64(mode.Perm()), ModTime: time.Now(),
	})
	if err == nil {
		_, err = archive.Write(content)
	}
	if err = errors.Join(err, archive.Close()); err == nil {
		err = c.api.CopyToContainer(ctx, name, path.Dir(file), &out, container.CopyToContainerOptions{})
	}
	if err != nil {
		return c.fail("writing "+file+" in the container", name, err)
	}
	return nil
}
