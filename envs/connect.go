package envs

import (
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kfdev/kfdev/cluster/kind"
	clusterregistry "github.com/kfdev/kfdev/cluster/registry"
	"github.com/kfdev/kfdev/images"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/registry"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian"
	"github.com/kfdev/kfdev/images/source/files"
	"github.com/kfdev/kfdev/images/source/gomod"
	"github.com/kfdev/kfdev/images/source/npm"
	"github.com/kfdev/kfdev/images/source/preload"
	"github.com/kfdev/kfdev/images/source/wheels"
	"github.com/kfdev/kfdev/images/store"
	"github.com/kfdev/kfdev/internal/docker"
	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
)

// catalogVersion names what this program's catalogs hold; it moves when a
// component or a recipe moves to another version.
const catalogVersion = "2026.11"

// registryPatience is how long registries may take to answer before images are
// built from source instead, with `origin: auto`.
const registryPatience = 5 * time.Second

// instanceVariable names a registry and a network of its own for tests that
// run beside a person's own kfdev.
const instanceVariable = "KFDEV_REGISTRY"

// connectWorld makes the clients of everything outside. Nothing is asked yet.
func (e *Engine) connectWorld() error {
	daemon, err := docker.New()
	if err != nil {
		return err
	}
	e.closings = append(e.closings, daemon.Close)
	if e.store, err = store.Open(filepath.Join(e.dirs.Cache, "store")); err != nil {
		return err
	}
	if e.builder, err = e.newBuilder(); err != nil {
		return err
	}
	e.remote = registry.NewOrigin(registry.Config{Mirrors: e.file.Registry.Mirrors, Sink: e.sink})
	e.world = world{
		Daemon:   daemon,
		Clusters: kind.New(daemon, filepath.Join(e.dirs.State, "nodes"), e.sink),
		Registry: func(image *docker.Archive) localRegistry {
			o := clusterregistry.Options{Name: e.getenv(instanceVariable), Network: kind.Network()}
			if image != nil {
				o.Image = *image
			}
			return clusterregistry.New(daemon, o, e.sink)
		},
		Target: func(addr netip.AddrPort) images.Target {
			config := registry.Config{PlainHTTP: []string{addr.String()}, Sink: e.sink}
			return registry.NewTarget(config, registry.MirrorLayout(addr.String()))
		},
		Connect:    e.connectCluster,
		Kubeconfig: userContexts{e.getenv},
		Disk:       diskSpace,
	}
	return nil
}

// newBuilder makes the builder of source images with every maker there is.
func (e *Engine) newBuilder() (*source.Builder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, &fault.Error{Op: "finding this program", Err: err}
	}
	scratch := filepath.Join(e.dirs.Cache, "scratch")
	return source.New(source.Config{
		Store: e.store, Catalog: e.recipes, Sink: e.sink, Scratch: scratch, Host: source.ReadHost(),
		Makers: map[recipe.LayerKind]source.Maker{
			recipe.KindGo:      gomod.New(gomod.Options{Scratch: scratch, Sink: e.sink}),
			recipe.KindDebian:  debian.New(debian.Options{Store: e.store, Dir: filepath.Join(e.dirs.Cache, "debian"), Sink: e.sink}),
			recipe.KindWheels:  wheels.New(e.store, wheels.DefaultClient(), scratch, e.sink),
			recipe.KindNPM:     npm.New(e.store, npm.DefaultClient(), scratch, e.sink),
			recipe.KindFiles:   files.New(self),
			recipe.KindPreload: preload.New(store.NewOrigin(e.store, images.FromSource)),
		},
	}), nil
}

func (e *Engine) connectCluster(kubeconfig []byte) (live, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, &fault.Error{Op: "reading the cluster's kubeconfig", Err: err}
	}
	client, err := kube.Connect(config)
	if err != nil {
		return nil, err
	}
	return newLiveStack(client, e.sink), nil
}
