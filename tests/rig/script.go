package rig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Script runs scripts/NAME.sh of this checkout, with more in its environment, and gives what it prints. It is for tests
// in packages two directories below the root.
func Script(limit time.Duration, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "../../scripts/"+name+".sh", args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s.sh %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(),
			problems.String())
	}
	return out.String(), nil
}
