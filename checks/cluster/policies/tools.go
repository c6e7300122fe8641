//go:build tools

// kube-router, of which the node of `make cluster-try` takes one part: it enforces network policies.
package policies

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
