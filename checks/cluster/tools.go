//go:build tools

// The programs of `make cluster-check` and `make cluster-try`: those of the oldest Kubernetes that docs/kubernetes.md names,
// and the etcd that its API server was tested with. src/cluster/binaries.rs and src/node/programs.rs build them.
//
// k8s.io/kubernetes cannot be installed by `go install`, because its go.mod replaces modules by folders beside it: go.mod
// here replaces them by their published versions. To move the version, see CONTRIBUTING.md, "move a pin".
package cluster

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
