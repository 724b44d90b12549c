package origintest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/internal/fault"
)

// Memory is an Origin and a Target in memory. As registries do, it keeps
// blobs by repository. Its methods may be called from several goroutines.
type Memory struct {
	mu        sync.Mutex
	manifests map[string]images.Manifest // by repository@digest
	blobs     map[string][]byte
	opened    []string // every blob that was opened, repository@digest
	put       []string // everything that was written, in order
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{manifests: map[string]images.Manifest{}, blobs: map[string][]byte{}}
}

// Fill puts the fixture in.
func (m *Memory) Fill(f Fixture) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, b := range f.Blobs {
		m.blobs[key(f.Repository, d)] = b
	}
	for d, man := range f.Manifests {
		m.manifests[key(f.Repository, d)] = man
	}
	return m
}

// Damage replaces what is kept under digest, blob or manifest, by what change
// makes of it; nil removes it.
func (m *Memory) Damage(repository string, digest v1.Hash, change func([]byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(repository, digest)
	if b, ok := m.blobs[k]; ok {
		if b = change(b); b == nil {
			delete(m.blobs, k)
		} else {
			m.blobs[k] = b
		}
	}
	if man, ok := m.manifests[k]; ok {
		if man.Raw = change(man.Raw); man.Raw == nil {
			delete(m.manifests, k)
		} else {
			m.manifests[k] = man
		}
	}
}

// Opened returns repository@digest of every blob opened so far.
func (m *Memory) Opened() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.opened...)
}

// Written returns repository@digest of every blob and manifest written so far,
// in order.
func (m *Memory) Written() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.put...)
}

// Kind says registry.
func (m *Memory) Kind() images.OriginKind { return images.FromRegistry }

// Manifest returns a manifest or index.
func (m *Memory) Manifest(ctx context.Context, ref images.Ref) (images.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return images.Manifest{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	man, ok := m.manifests[ref.String()]
	if !ok {
		return images.Manifest{}, missing(ref.String())
	}
	return man, images.CheckManifest(man.Raw, ref.Digest)
}

// Blob opens a blob.
func (m *Memory) Blob(ctx context.Context, repository string, desc v1.Descriptor) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(repository, desc.Digest)
	b, ok := m.blobs[k]
	if !ok {
		return nil, missing(k)
	}
	m.opened = append(m.opened, k)
	return images.Verify(io.NopCloser(bytes.NewReader(b)), desc), nil
}

// Has reports what is there.
func (m *Memory) Has(ctx context.Context, repository string, desc v1.Descriptor) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(repository, desc.Digest)
	_, blob := m.blobs[k]
	_, manifest := m.manifests[k]
	return blob || manifest, nil
}

// PutBlob keeps a blob that is what desc says.
func (m *Memory) PutBlob(ctx context.Context, repository string, desc v1.Descriptor, content io.Reader) error {
	b, err := io.ReadAll(images.Verify(io.NopCloser(content), desc))
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(repository, desc.Digest)
	m.blobs[k], m.put = b, append(m.put, k)
	return nil
}

// PutManifest keeps a manifest that is what ref says.
func (m *Memory) PutManifest(ctx context.Context, ref images.Ref, man images.Manifest) error {
	if err := errors.Join(images.CheckManifest(man.Raw, ref.Digest), ctx.Err()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.manifests[ref.String()], m.put = man, append(m.put, ref.String())
	return nil
}

func key(repository string, d v1.Hash) string { return repository + "@" + d.String() }

func missing(subject string) error {
	return &fault.Error{Op: "reading", Subject: subject, Kind: fault.NotFound, Err: errors.New("not there")}
}
