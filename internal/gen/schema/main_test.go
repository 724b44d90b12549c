package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/schema"
)

func TestTheSchemaIsGenerated(t *testing.T) {
	t.Chdir("../../..")
	want, err := generate()
	require.NoError(t, err)
	require.Equal(t, string(want), string(schema.Project()), "run go run ./internal/gen/schema")
}
