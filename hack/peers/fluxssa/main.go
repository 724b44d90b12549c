// Command fluxssa applies a file of objects as Flux does, in a fresh process,
// and writes how long that took: a peer for kfdev's benchmarks, in a module of
// its own so that kfdev does not depend on it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster")
	file := flag.String("f", "", "the objects, as YAML")
	concurrency := flag.Int("concurrency", 4, "how many dry runs at once; 4 is the kustomize-controller's")
	flag.Parse()
	took, err := run(context.Background(), *kubeconfig, *file, *concurrency)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(took)
}

func run(ctx context.Context, kubeconfig, file string, concurrency int) (time.Duration, error) {
	log.SetLogger(logr.Discard())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return 0, err
	}
	config.QPS, config.Burst = -1, -1
	config.WarningHandler = rest.NoWarnings{}
	reader, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer reader.Close() //nolint:errcheck // it is only read
	objects, err := ssautil.ReadObjects(reader)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return 0, err
	}
	c, err := client.New(config, client.Options{Mapper: mapper, HTTPClient: httpClient})
	if err != nil {
		return 0, err
	}
	manager := ssa.NewResourceManager(c, polling.NewStatusPoller(c, mapper, polling.Options{}), ssa.Owner{Field: "flux", Group: "flux.example.com"})
	manager.SetConcurrency(concurrency)
	if _, err := manager.ApplyAllStaged(ctx, objects, ssa.DefaultApplyOptions()); err != nil {
		return 0, err
	}
	return time.Since(started), nil
}
