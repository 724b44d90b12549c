package kind

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"

	"github.com/kfdev/kfdev/cluster"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/progress"
)

// Ports that a cluster's API is given. They lie below those that the kernel
// hands out to outgoing connections (32768 and up), so that a port is seldom
// taken by the time a stopped cluster wants it back.
const (
	firstPort = 16443
	portCount = 4000
)

// freePort returns the first port on 127.0.0.1 that is free, beginning at one
// that depends on the name.
func freePort(ctx context.Context, name string) (netip.AddrPort, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it never fails
	for i := range uint32(portCount) {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(firstPort+(h.Sum32()%portCount+i)%portCount)) //nolint:gosec // below 65536
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
		if ctx.Err() != nil {
			return netip.AddrPort{}, ctx.Err()
		}
		if err == nil {
			return at, l.Close()
		}
	}
	return netip.AddrPort{}, &fault.Error{
		Op: "choosing a port for the API server", Kind: fault.Preflight,
		Err: fmt.Errorf("none of %d to %d is free", firstPort, firstPort+portCount-1),
	}
}

// start starts a node. One whose port another program has taken meanwhile gets
// another; all that is in the node stays.
func (p *Provider) start(ctx context.Context, c docker.Container) error {
	err := p.docker.Start(ctx, c.ID)
	if err == nil || !portTaken(err) {
		return err
	}
	taken, published := c.Ports[apiPort]
	if !published {
		return err
	}
	at, portErr := freePort(ctx, c.Name)
	if portErr != nil {
		return errors.Join(err, portErr)
	}
	if err := p.docker.Republish(ctx, c.Name, movedImage(c.Name), apiPort, at); err != nil {
		return err
	}
	progress.Warn(p.sink, fmt.Sprintf("port %d is taken by another program: the API server of %s is at %s", taken.Port(), c.Labels[labelCluster], at))
	return nil
}

// movedImage is the name that the files of a node which was given another port
// are kept under.
func movedImage(node string) string { return "kfdev.internal/moved-node:" + node }

// settle ends what was cut short while a node was given another port.
func (p *Provider) settle(ctx context.Context, name string) error {
	return p.docker.Settle(ctx, cluster.ContextName(name)+"-"+roleControl)
}

// portTaken reads Docker's messages, which have no code of their own.
func portTaken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use")
}
