// Runc-without stands before an OCI runtime and takes one capability out of
// every container that is created and every process that is executed. Docker
// asks for all capabilities for a privileged container; on a host whose own
// bounding set lacks CAP_SYS_RESOURCE the runtime then refuses to start it.
//
// Usage, as the runtime that a Docker daemon is told of:
//
//	runc-without [runtime's own arguments]
//
// The runtime is the first "runc" on PATH. The files that are changed are the
// bundle's config.json (create, run) and the process file (exec), see the
// runtime specification of the Open Container Initiative, config.md.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const capability = "CAP_SYS_RESOURCE"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runc-without:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(args []string) error {
	if file, process := edited(args); file != "" {
		if err := edit(file, process); err != nil {
			return err
		}
	}
	runtime, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runtime, append([]string{runtime}, args...), os.Environ())
}

// edited returns the file that the command line names as the container's, and
// whether it is a bare process ("exec") and not a whole configuration.
func edited(args []string) (file string, process bool) {
	switch {
	case slices.Contains(args, "exec"):
		return value(args, "--process", "-p"), true
	case slices.Contains(args, "create"), slices.Contains(args, "run"):
		bundle := value(args, "--bundle", "-b")
		if bundle == "" {
			bundle = "."
		}
		return filepath.Join(bundle, "config.json"), false
	}
	return "", false
}

// value returns what follows a flag, in the forms "--flag value" and "--flag=value".
func value(args []string, names ...string) string {
	for i, arg := range args {
		for _, name := range names {
			if arg == name && i+1 < len(args) {
				return args[i+1]
			}
			if rest, ok := strings.CutPrefix(arg, name+"="); ok {
				return rest
			}
		}
	}
	return ""
}

// edit rewrites the file only when it asks for the capability.
func edit(file string, process bool) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, changed, err := drop(raw, process)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if !changed {
		return nil
	}
	return os.WriteFile(file, out, 0o600)
}

// drop takes the capability out of every set of the document. Everything else
// is carried over as it was, also what this program does not know.
func drop(raw []byte, process bool) (out []byte, changed bool, err error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, false, err
	}
	holder := doc
	if !process {
		holder = nil
		if doc["process"] != nil {
			if err := json.Unmarshal(doc["process"], &holder); err != nil {
				return nil, false, fmt.Errorf("process: %w", err)
			}
		}
	}
	var sets map[string][]string
	if holder["capabilities"] != nil {
		if err := json.Unmarshal(holder["capabilities"], &sets); err != nil {
			return nil, false, fmt.Errorf("capabilities: %w", err)
		}
	}
	for name, set := range sets {
		left := slices.DeleteFunc(slices.Clone(set), func(c string) bool { return c == capability })
		changed = changed || len(left) != len(set)
		sets[name] = left
	}
	if !changed {
		return raw, false, nil
	}
	if holder["capabilities"], err = json.Marshal(sets); err != nil {
		return nil, false, err
	}
	if !process {
		if doc["process"], err = json.Marshal(holder); err != nil {
			return nil, false, err
		}
	}
	out, err = json.Marshal(doc)
	return out, true, err
}
