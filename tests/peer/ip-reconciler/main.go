// One run of the Go program's reconciler, which there is a part of a controller.
package main

import (
	"flag"
	"log"

	"github.com/k8snetworkplumbingwg/whereabouts/pkg/reconciler"
	"github.com/k8snetworkplumbingwg/whereabouts/pkg/storage/kubernetes"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the cluster")
	flag.Parse()
	if err := run(*kubeconfig); err != nil {
		log.Fatal(err)
	}
}

func run(kubeconfig string) error {
	client, err := kubernetes.NewClientViaKubeconfig(kubeconfig)
	if err != nil {
		return err
	}
	looper, err := reconciler.NewReconcileLooperWithClient(client)
	if err != nil {
		return err
	}
	if _, err := looper.ReconcileIPPools(); err != nil {
		return err
	}
	return looper.ReconcileOverlappingIPAddresses()
}
