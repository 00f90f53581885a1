// Parts of a Kubernetes control plane in one binary: the name it is called by says which one runs.
//
// One binary shares what the parts have in common, most of their code, so that it is compiled and linked once.
// Only the part that runs makes its command: the global flags and feature gates of two parts would clash.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// parts are what this binary can be; each runs until its end and gives the exit code.
var parts = map[string]func() int{
	"etcd":           etcd,
	"kube-apiserver": command(apiserver.NewAPIServerCommand),
	"kubectl":        command(func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() }),
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

func command(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

// etcd ends the process by itself when it fails.
func etcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func names() string {
	known := make([]string, 0, len(parts))
	for name := range parts {
		known = append(known, name)
	}
	slices.Sort(known)
	return strings.Join(known, " ")
}
