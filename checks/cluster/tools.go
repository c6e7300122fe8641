//go:build tools

// The programs of `make cluster-check`: an API server of the oldest Kubernetes that docs/kubernetes.md names, kubectl of the
// same version, and the etcd that the API server was tested with. src/checks/cluster/binaries.rs builds them.
//
// k8s.io/kubernetes cannot be installed by `go install`, because its go.mod replaces modules by folders beside it: go.mod
// here replaces them by their published versions. To move the version, see CONTRIBUTING.md, "move a pin".
package cluster

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
