// What a Kubernetes node runs beyond the control plane, in one binary: the name it is called by says which part.
//
// The control plane itself (etcd, kube-apiserver, kubectl) is built by e2e/controlplane, which `make test` needs;
// this module is built for `make e2e` alone. Only the part that runs makes its command: the global flags and
// feature gates of two parts would clash.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	ctr "github.com/containerd/containerd/v2/cmd/ctr/app"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// parts are what this binary can be; each runs until its end and gives the exit code.
var parts = map[string]func() int{
	"containerd":              urfave(func() error { return command.App().Run(os.Args) }),
	"ctr":                     urfave(func() error { return ctr.New().Run(os.Args) }),
	"kube-controller-manager": cobraed(controllers.NewControllerManagerCommand),
	"kube-proxy":              cobraed(proxy.NewProxyCommand),
	"kube-scheduler":          cobraed(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 cobraed(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

func main() {
	name := filepath.Base(os.Args[0])
	part, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: link this binary to one of these names and run that: %s\n", name, names())
		os.Exit(2)
	}
	os.Exit(part())
}

func cobraed(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

func urfave(run func() error) func() int {
	return func() int {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

func names() string {
	known := make([]string, 0, len(parts))
	for name := range parts {
		known = append(known, name)
	}
	slices.Sort(known)
	return strings.Join(known, " ")
}
