package envs

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// child is what this test binary does where another test runs it as a process
// of its own; it reports false where it is not that.
var child = func() (code int, is bool) { return 0, false }

func TestMain(m *testing.M) {
	if code, is := child(); is {
		os.Exit(code) //nolint:forbidigo // this is a main
	}
	goleak.VerifyTestMain(m)
}
