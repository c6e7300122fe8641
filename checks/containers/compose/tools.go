//go:build tools

// Docker's compose plugin, for `make compose-try` where a Docker engine came without it. `go install` refuses it, because its
// go.mod has exclude lines.
package compose

import _ "github.com/docker/compose/v2/cmd"
