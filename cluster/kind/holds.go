package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/fault"
)

// holds asks a node whose cluster was just made what images it has. Nothing
// was applied yet, so they are what a published node image brought along: the
// control plane, its pod network and storage. The node image's own digest is
// locked, and stands for them; nothing else says which they are. It is not
// tried against the published image where no registry is reached, only
// against what crictl of the same version writes.
func (p *Provider) holds(ctx context.Context, node string) ([]cluster.Held, error) {
	raw, err := p.docker.Exec(ctx, node, "crictl", "--timeout=30s", "images", "--output=json")
	if err != nil {
		return nil, err
	}
	held, err := heldImages([]byte(raw))
	if err != nil {
		return nil, &fault.Error{Op: "reading what images a new node has", Subject: node, Err: err}
	}
	return held, nil
}

// heldImages reads what `crictl images --output=json` writes: the CRI's
// ListImagesResponse. Warnings that come before it are passed over. The images
// are sorted by name, and each has its digests sorted.
func heldImages(raw []byte) ([]cluster.Held, error) {
	start := slices.Index(raw, '{')
	if start < 0 {
		return nil, fmt.Errorf("crictl wrote no JSON: %.200q", raw)
	}
	var list struct {
		Images []struct {
			ID          string   `json:"id"`
			RepoTags    []string `json:"repoTags"`
			RepoDigests []string `json:"repoDigests"`
		} `json:"images"`
	}
	if err := json.Unmarshal(raw[start:], &list); err != nil {
		return nil, fmt.Errorf("what crictl wrote: %w", err)
	}
	var held []cluster.Held
	for _, i := range list.Images {
		h := cluster.Held{Name: i.ID}
		if len(i.RepoTags) > 0 {
			h.Name = i.RepoTags[0]
		}
		for _, name := range append([]string{i.ID}, i.RepoDigests...) {
			digest := name[strings.LastIndexByte(name, '@')+1:]
			if !strings.HasPrefix(digest, "sha256:") {
				return nil, fmt.Errorf("image %s has the digest %q", h.Name, name)
			}
			h.Digests = append(h.Digests, digest)
		}
		slices.Sort(h.Digests)
		h.Digests = slices.Compact(h.Digests)
		held = append(held, h)
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("it has none")
	}
	slices.SortFunc(held, func(a, b cluster.Held) int { return strings.Compare(a.Name, b.Name) })
	return held, nil
}
