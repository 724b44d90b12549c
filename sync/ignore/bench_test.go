package ignore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// typical is in the manner of the Python rules that most repositories have.
const typical = `# Byte-compiled
__pycache__/
*.py[codz]
*$py.class
*.so
.Python
build/
develop-eggs/
dist/
downloads/
eggs/
.eggs/
lib64/
parts/
sdist/
var/
wheels/
share/python-wheels/
*.egg-info/
.installed.cfg
*.egg
MANIFEST
*.manifest
*.spec
pip-log.txt
pip-delete-this-directory.txt
htmlcov/
.tox/
.nox/
.coverage
.coverage.*
nosetests.xml
coverage.xml
*.cover
*.py,cover
.hypothesis/
.pytest_cache/
*.mo
*.pot
*.log
local_settings.py
db.sqlite3
instance/
.webassets-cache
.scrapy
docs/_build/
.pybuilder/
target/
profile_default/
ipython_config.py
.env
.venv
env/
venv/
.mypy_cache/
/data/**/*.parquet
models/*/checkpoints/
!keep.log
`

// tree100k writes rules into a folder and returns 100,000 paths in 10,000
// folders.
func tree100k(b *testing.B) (root string, paths []string) {
	b.Helper()
	alone(b)
	root = b.TempDir()
	write(b, root+"/.gitignore", typical)
	write(b, root+"/d1/.gitignore", "*.tmp\n/x\n")
	for i := range 10_000 {
		for j := range 10 {
			paths = append(paths, fmt.Sprintf("d%d/sub%d/deep%d/file%d.py", i%100, i/100, i%7, j))
		}
	}
	return root, paths
}

func BenchmarkIgnored100k(b *testing.B) {
	root, paths := tree100k(b)
	for b.Loop() {
		b.StopTimer()
		r, err := Load(root)
		require.NoError(b, err)
		b.StartTimer()
		for _, p := range paths {
			if r.Ignored(p, false) {
				b.Fatal(p)
			}
		}
	}
}

func BenchmarkLoad100k(b *testing.B) {
	root, paths := tree100k(b)
	for _, p := range paths {
		write(b, root+"/"+p, "")
	}
	for b.Loop() {
		_, err := Load(root)
		require.NoError(b, err)
	}
}
