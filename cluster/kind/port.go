package kind

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
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
	for _, port := range published(c) {
		if named(err, c.Ports[tcp(port.Node)]) {
			return portFault(port.Host, err)
		}
	}
	taken, isPublished := c.Ports[apiPort]
	if !isPublished {
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

func tcp(port int) string { return fmt.Sprintf("%d/tcp", port) }

// named reports whether an error of Docker's names the address.
func named(err error, at netip.AddrPort) bool {
	return regexp.MustCompile(regexp.QuoteMeta(at.String()) + `\b`).MatchString(err.Error())
}

// published are the ports that lead to a node, beside the API's, by the node's
// port.
func published(c docker.Container) []cluster.Port {
	var ports []cluster.Port
	for name, at := range c.Ports {
		number, ok := strings.CutSuffix(name, "/tcp")
		node, err := strconv.Atoi(number)
		if ok && err == nil && name != apiPort {
			ports = append(ports, cluster.Port{Host: int(at.Port()), Node: node})
		}
	}
	slices.SortFunc(ports, func(a, b cluster.Port) int { return cmp.Compare(a.Node, b.Node) })
	return ports
}

// portsFree fails where another program listens on a port that a cluster to be
// made is asked to have. Unlike the API's, such a port was chosen by a person.
func portsFree(ctx context.Context, ports []cluster.Port) error {
	for _, p := range ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.Host))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return portFault(p.Host, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func portFault(port int, err error) error {
	return &fault.Error{
		Op: "publishing a port of the cluster", Subject: fmt.Sprintf("127.0.0.1:%d", port), Kind: fault.Preflight, Err: err,
		Hint: "end the program that has it, or name another in environments.dev.cluster.kind.ports",
	}
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
