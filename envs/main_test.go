package envs

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if code, is := child(); is {
		os.Exit(code) //nolint:forbidigo // this is a main
	}
	goleak.VerifyTestMain(m)
}
