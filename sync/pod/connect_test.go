package pod

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/kube/kubetest"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/helper/program"
)

// room is a container of paper: a shell of this machine, with folders and
// programs of the test's own in the place of the container's.
type room struct {
	shell   []string // the shell, with its arguments before -c
	bin     string   // the only folder of programs
	folders []string // in the place of /tmp, /dev/shm and /var/tmp
	env     []string
	before  string // what the shell runs first
	broken  error  // no command can be run
}

// newRoom is one with three folders, and all the programs that the script can
// make use of.
func newRoom(t *testing.T, tools ...string) *room {
	t.Helper()
	r := &room{shell: []string{find1(t, "sh")}, bin: t.TempDir(), folders: []string{t.TempDir(), t.TempDir(), t.TempDir()}}
	if tools == nil {
		tools = []string{"chmod", "head", "gzip", "uname", "mv", "rm", "mkdir"}
	}
	for _, tool := range tools {
		require.NoError(t, os.Symlink(find1(t, tool), filepath.Join(r.bin, tool)))
	}
	return r
}

func find1(t *testing.T, tool string) string {
	t.Helper()
	file, err := exec.LookPath(tool)
	require.NoError(t, err)
	return file
}

// tool puts a program of the test's own in the place of one.
func (r *room) tool(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(r.bin, name)
	_ = os.Remove(file)
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755)) //nolint:gosec // a program
}

// command is what runs where the API is asked to run sh -c.
func (r *room) command(request kubetest.Request) (*exec.Cmd, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	const own = `/tmp /dev/shm /var/tmp`
	text := request.Args[2]
	if !strings.Contains(text, own) {
		return nil, errors.New("the script names other folders")
	}
	text = r.before + "\n" + strings.Replace(text, own, strings.Join(r.folders, " "), 1)
	args := append(append([]string{}, r.shell[1:]...), "-c", text)
	command := exec.Command(r.shell[0], append(args, request.Args[3:]...)...) //nolint:gosec // the script under test
	command.Env = append([]string{"PATH=" + r.bin, "HOME=/nonexistent"}, r.env...)
	return command, nil
}

// connect gets into the room.
func (r *room) connect(t *testing.T, p Pod, o Options) (io.ReadWriteCloser, How, error) {
	t.Helper()
	server := httptest.NewServer(&kubetest.Exec{Command: r.command})
	t.Cleanup(server.Close)
	client, err := kube.Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return Connect(t.Context(), client, p, o)
}

// enters connects, checks that what answers is the helper, and ends it.
func (r *room) enters(t *testing.T, helper func(string) (program.Program, error)) How {
	t.Helper()
	stream, how, err := r.connect(t, testPod(), Options{Program: helper})
	require.NoError(t, err)
	_, err = stream.Write([]byte("hello\n"))
	require.NoError(t, err)
	said, err := bufio.NewReader(stream).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "the helper says hello\n", said)
	require.NoError(t, stream.Close())
	require.FileExists(t, how.File)
	return how
}

func testPod() Pod {
	return Pod{Namespace: "ns", Name: "web", Container: "main", Arch: "amd64"}
}

// paper is a helper that is a shell script with bytes of all kinds behind it.
func paper(t *testing.T, note string) func(arch string) (program.Program, error) {
	t.Helper()
	var everything []byte
	for b := range 256 {
		everything = append(everything, byte(b))
	}
	text := fmt.Sprintf(`#!%s
case $1 in
check)
	sum=$(%s <"$0")
	[ "${sum%%%% *}" = "$2" ] || { echo "this is another: %s" >&2; exit 1; }
	echo "$2" ;;
serve)
	read -r line
	echo "the helper says $line"
	umask >&2
	read -r line ;;
esac
exit
`, find1(t, "sh"), find1(t, "sha256sum"), note)
	plain := append([]byte(text), bytes.Repeat(everything, 20)...)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(plain)
	require.NoError(t, errors.Join(err, w.Close()))
	sum := sha256.Sum256(plain)
	return func(arch string) (program.Program, error) {
		return program.Program{Arch: arch, SHA256: hex.EncodeToString(sum[:]), Gzip: packed.Bytes()}, nil
	}
}

func TestTheHelperIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"sh", "dash", "bash", "busybox sh", "mksh"} {
		words := strings.Fields(shell)
		file, err := exec.LookPath(words[0])
		if err != nil {
			continue // sh is there everywhere, and newRoom wants it
		}
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			r, helper := newRoom(t), paper(t, "one")
			r.shell = append([]string{file}, words[1:]...)
			first := r.enters(t, helper)
			require.Equal(t, r.folders[0], filepath.Dir(first.File))
			require.Positive(t, first.Uploaded)
			second := r.enters(t, helper)
			require.Equal(t, first.File, second.File)
			require.Zero(t, second.Uploaded)

			// Another kfdev's takes its place.
			third := r.enters(t, paper(t, "two"))
			require.NotEqual(t, first.File, third.File)
			left, err := os.ReadDir(r.folders[0])
			require.NoError(t, err)
			require.Len(t, left, 1)
		})
	}
}

func TestTheHelperIsSentAsTheContainerCanTakeIt(t *testing.T) {
	t.Parallel()
	helper := paper(t, "")
	p, err := helper("amd64")
	require.NoError(t, err)
	plain, err := p.Plain()
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		tools []string
		sent  int
	}{
		"gzip":                  {nil, len(p.Gzip)},
		"head":                  {[]string{"chmod", "head", "uname", "mv", "rm"}, len(plain)},
		"a shell and chmod":     {[]string{"chmod"}, len(lines(plain))},
		"gzip without head":     {[]string{"chmod", "gzip"}, len(lines(plain))},
		"no uname, mv, rm":      {[]string{"chmod", "head", "gzip"}, len(p.Gzip)},
		"what can't be tidied":  {[]string{"chmod", "head", "gzip", "uname", "mv"}, len(p.Gzip)},
		"what can't be renamed": {[]string{"chmod", "head", "gzip", "uname", "rm"}, len(p.Gzip)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, tc.tools...)
			require.Equal(t, tc.sent, r.enters(t, helper).Uploaded)
		})
	}
}

func TestTheHelperGoesWhereItMay(t *testing.T) {
	t.Parallel()
	helper := paper(t, "")
	t.Run("TMPDIR first", func(t *testing.T) {
		t.Parallel()
		r, own := newRoom(t), filepath.Join(t.TempDir(), "with a space")
		require.NoError(t, os.Mkdir(own, 0o700))
		r.env = []string{"TMPDIR=" + own}
		require.Equal(t, own, filepath.Dir(r.enters(t, helper).File))
		require.Zero(t, r.enters(t, helper).Uploaded)
	})
	t.Run("not where nothing can be written", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		r.folders[0] = "/proc/self" // not even by root
		require.Equal(t, r.folders[1], filepath.Dir(r.enters(t, helper).File))
	})
	t.Run("not where nothing may be executed", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		r.tool(t, "chmod", `case $2 in `+r.folders[0]+`/*) exit 0 ;; esac; exec `+find1(t, "chmod")+` "$@"`)
		require.Equal(t, r.folders[1], filepath.Dir(r.enters(t, helper).File))
		left, err := os.ReadDir(r.folders[0])
		require.NoError(t, err)
		require.Empty(t, left)
	})
	t.Run("home", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		home := r.folders[2]
		r.folders = []string{"/nonexistent"}
		r.env = []string{"HOME=" + home}
		require.Equal(t, home, filepath.Dir(r.enters(t, helper).File))
	})
	t.Run("the synced folder", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		root := r.folders[2]
		r.folders = []string{"/proc/self"}
		stream, how, err := r.connect(t, testPod(), Options{Program: helper, Root: root + "/"})
		require.NoError(t, err)
		require.NoError(t, stream.Close())
		require.Equal(t, filepath.Join(root, ".kfdev-sync"), filepath.Dir(how.File))
	})
	t.Run("where there is room for it", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t)
		// The first folder takes the start of a file alone.
		r.tool(t, "gzip", `[ "$1" = -c ] && exec `+find1(t, "gzip")+` -c
[ -e `+r.bin+`/full ] && { : >`+r.bin+`/full; echo "No space left on device" >&2; exit 1; }
exec `+find1(t, "gzip")+` "$@"`)
		r.tool(t, "head", `[ "$2" -gt 9 ] && [ ! -e `+r.bin+`/full ] && { : >`+r.bin+`/full; exec `+find1(t, "head")+` -c 2; }
exec `+find1(t, "head")+` "$@"`)
		how := r.enters(t, helper)
		require.Equal(t, r.folders[1], filepath.Dir(how.File))
		left, err := os.ReadDir(r.folders[0])
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestWhatIsThereAlreadyIsNotTrusted(t *testing.T) {
	t.Parallel()
	helper := paper(t, "")
	p, err := helper("amd64")
	require.NoError(t, err)
	const bad = "#!/bin/sh\nexit 0\n" // would say that it is right, and then serve nothing
	for name, plant := range map[string]func(t *testing.T, file string){
		"cut short": func(t *testing.T, file string) {
			t.Helper()
			plain, err := p.Plain()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, plain[:len(plain)-1], 0o700)) //nolint:gosec // a program
		},
		"no program": func(t *testing.T, file string) {
			t.Helper()
			require.NoError(t, os.WriteFile(file, []byte{0x7f, 'E', 'L', 'F', 0}, 0o700)) //nolint:gosec // a program
		},
		"not to be executed": func(t *testing.T, file string) {
			t.Helper()
			require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		},
		"a link": func(t *testing.T, file string) {
			t.Helper()
			other := filepath.Join(t.TempDir(), "other")
			require.NoError(t, os.WriteFile(other, []byte(bad), 0o700)) //nolint:gosec // a program
			require.NoError(t, os.Symlink(other, file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t)
			plant(t, filepath.Join(r.folders[0], p.FileName()))
			how := r.enters(t, helper)
			require.Positive(t, how.Uploaded)
			info, err := os.Lstat(how.File)
			require.NoError(t, err)
			require.True(t, info.Mode().IsRegular())
		})
	}
}

func TestWhatTheContainerPrintsIsPassedOver(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.before = "echo Welcome; i=0; while [ $i -lt 900 ]; do echo a line of the message of the day; i=$((i+1)); done; printf 'no newline '"
	r.enters(t, paper(t, ""))

	r.before = "while :; do echo y; done"
	_, _, err := r.connect(t, testPod(), Options{Program: paper(t, "")})
	require.ErrorContains(t, err, "prints without end")
}

func TestTheHelperKeepsTheContainersMask(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.before = "umask 027"
	server := httptest.NewServer(&kubetest.Exec{Command: r.command})
	t.Cleanup(server.Close)
	client, err := kube.Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	stream, how, err := Connect(t.Context(), client, testPod(), Options{Program: paper(t, "")})
	require.NoError(t, err)
	info, err := os.Stat(how.File)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode())
	_, err = stream.Write([]byte("hello\n\n"))
	require.NoError(t, err)
	_, err = io.ReadAll(stream)
	require.NoError(t, err)
	require.Contains(t, stream.(buffered).Stderr(), "27")
	require.NoError(t, stream.Close())
}

func TestTheContainerKnowsItsArchitecture(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]string{"it is not known": "", "the node was wrong": "amd64"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t)
			r.tool(t, "uname", "echo aarch64")
			var asked []string
			helper := paper(t, "")
			p := testPod()
			p.Arch = known
			stream, _, err := r.connect(t, p, Options{Program: func(arch string) (program.Program, error) {
				asked = append(asked, arch)
				return helper(arch)
			}})
			require.NoError(t, err)
			require.NoError(t, stream.Close())
			require.Equal(t, []string{"amd64", "arm64"}, asked)
		})
	}
	r := newRoom(t)
	r.tool(t, "uname", "echo riscv64")
	p := testPod()
	p.Arch = ""
	_, _, err := r.connect(t, p, Options{Program: paper(t, "")})
	require.ErrorContains(t, err, `runs on "riscv64"`)
	require.Equal(t, fault.Preflight, fault.KindOf(err))
}

func TestThereIsNoWayIn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(r *room)
		says   string
	}{
		"no shell, as containerd says it": {func(r *room) {
			r.broken = errors.New(`failed to exec in container: failed to start exec "1": OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH`)
		}, "the container has no shell"},
		"no shell, as exit codes say it": {func(r *room) { r.before = "exit 127" }, "the container has no shell"},
		"no folder":                      {func(r *room) { r.folders = []string{"/nonexistent"} }, "no folder for programs"},
		"no folder that can be used":     {func(r *room) { r.folders = []string{"/proc/self"} }, "/proc/self can't be written to"},
		"no chmod":                       {func(r *room) { r.bin = "/nonexistent" }, "nothing may be executed in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t)
			tc.change(r)
			_, _, err := r.connect(t, testPod(), Options{Program: paper(t, "")})
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, fault.Preflight, fault.KindOf(err))
			require.NotEmpty(t, fault.Hint(err))
		})
	}
}

func TestAHelperThatNeverRuns(t *testing.T) {
	t.Parallel()
	r, helper := newRoom(t), paper(t, "of another kind")
	_, _, err := r.connect(t, testPod(), Options{Program: func(arch string) (program.Program, error) {
		p, err := helper(arch)
		p.SHA256 = strings.Repeat("0", 64)
		p.Gzip = append([]byte(nil), p.Gzip...)
		return p, err
	}})
	require.ErrorContains(t, err, "not what its SHA-256 says")
	for _, folder := range r.folders {
		// The shell tidies up once it sees that nobody answers.
		require.Eventually(t, func() bool {
			left, err := os.ReadDir(folder)
			return err == nil && len(left) == 0
		}, 10*time.Second, time.Millisecond)
	}
}

func TestConnectIsCut(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.before = "read -r never"
	server := httptest.NewServer(&kubetest.Exec{Command: r.command})
	t.Cleanup(server.Close)
	client, err := kube.Connect(&rest.Config{Host: server.URL})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	helper := paper(t, "")
	_, _, err = Connect(ctx, client, testPod(), Options{Program: func(arch string) (program.Program, error) {
		defer cancel() // once it is under way
		return helper(arch)
	}})
	require.ErrorIs(t, err, context.Canceled)
}

func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	var told progress.Recorder
	stream, how, err := newRoom(t).connect(t, testPod(), Options{Program: paper(t, ""), Sink: &told})
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	events := told.Events()
	require.Equal(t, progress.Started, events[0].State)
	require.Equal(t, int64(how.Uploaded), events[0].Total)
	require.Equal(t, progress.Done, events[len(events)-1].State)
	require.Positive(t, how.Took)
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("Welcome\nmark start /tmp/x\n"))
	f.Add([]byte("mark want x86_64 gzip /tmp\nmark failed 1 no\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		in := bufio.NewReader(bytes.NewReader(said))
		a := attempt{connector: connector{o: Options{Sink: progress.Discard}}, mark: "mark", arch: "amd64"}
		helper := program.Program{Arch: "amd64", SHA256: strings.Repeat("0", 64), Gzip: []byte("x")}
		file, err := a.converse(in, io.Discard, helper)
		if err == nil && !bytes.Contains(said, []byte("mark start "+file)) && !bytes.Contains(said, []byte("mark start")) {
			t.Fatalf("it was never said that %q starts", file)
		}
	})
}
