package pod

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // of the script
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/kfdev/kfdev/internal/fault"
	"github.com/kfdev/kfdev/internal/kube"
	"github.com/kfdev/kfdev/internal/progress"
	"github.com/kfdev/kfdev/sync/helper/program"
)

//go:embed getin.sh
var script string

// firstWordWithin bounds how long a new stream may be silent.
const firstWordWithin = 30 * time.Second

// noise bounds what a container may print before the script's first answer,
// bytes.
const noise = 64 << 10

// shell gets in through a shell of the container. The reasons why there is no
// way are a *closedError.
func (c connector) shell(ctx context.Context) (io.ReadWriteCloser, How, error) {
	arch, from, way := c.pod.Arch, 0, "gzip"
	for {
		a := attempt{connector: c, arch: arch, from: from, way: way}
		stream, how, err := a.run(ctx)
		var failed *failedError
		switch {
		case errors.As(err, &failed):
			// The next folder, with less asked of the container's programs.
			from, way = failed.folder, "head"
			if failed.way != "gzip" {
				way = "shell"
			}
		case errors.Is(err, errOtherArch):
			arch = a.arch
		default:
			return stream, how, err
		}
	}
}

// attempt is one run of the script.
type attempt struct {
	connector

	arch string // what the container is thought to be
	from int    // the folders to pass over
	way  string // how the helper may be sent at best
	mark string
	sent int
}

// errOtherArch: the container is of another architecture than was thought.
var errOtherArch = errors.New("another architecture")

// failedError: the helper that was sent did not run from a folder.
type failedError struct {
	folder int
	way    string
	reason string
}

func (e *failedError) Error() string { return "the helper does not run: " + e.reason }

func (a *attempt) run(ctx context.Context) (io.ReadWriteCloser, How, error) {
	fail := func(err error) (io.ReadWriteCloser, How, error) { return nil, How{}, err }
	// Where the architecture is not known, the likeliest one's name does no
	// harm: a helper that is there is run, and one that is not is asked for.
	helper, err := a.o.Program(a.guess())
	if err != nil {
		return fail(err)
	}
	if a.mark, err = randomWord(); err != nil {
		return fail(err)
	}
	stream, err := a.client.Stream(ctx, kube.Exec{
		Namespace: a.pod.Namespace, Pod: a.pod.Name, Container: a.pod.Container,
		Command: []string{"sh", "-c", script, "sh", a.mark, helper.FileName(), helper.SHA256, strings.TrimSuffix(a.o.Root, "/"), strconv.Itoa(a.from)},
	})
	if err != nil {
		return fail(err)
	}
	var file string
	entered, err := talk(ctx, stream, func(in *bufio.Reader) error {
		file, err = a.converse(in, stream, helper)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return entered, How{File: file, Uploaded: a.sent}, nil
}

// talk has a conversation on a new stream, within the context. Where it fails,
// the stream is closed.
func talk(ctx context.Context, stream *kube.Stream, converse func(in *bufio.Reader) error) (io.ReadWriteCloser, error) {
	in := bufio.NewReader(stream)
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	quiet := time.AfterFunc(firstWordWithin, func() { _ = stream.Close() })
	_, err := in.Peek(1)
	if !quiet.Stop() && err != nil {
		err = fmt.Errorf("there was no answer within %s: %w", firstWordWithin, err)
	} else {
		err = converse(in) // where Peek failed, it meets the same
	}
	stop()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return buffered{Reader: in, Stream: stream}, nil
}

// randomWord is a word that nobody else says.
func randomWord() (string, error) {
	var random [12]byte
	_, err := rand.Read(random[:])
	return hex.EncodeToString(random[:]), err
}

func (a *attempt) guess() string {
	if a.arch == "" {
		return "amd64"
	}
	return a.arch
}

// converse follows the script until the helper starts, and returns where it is.
func (a *attempt) converse(in *bufio.Reader, out io.Writer, helper program.Program) (string, error) {
	for {
		word, rest, err := answer(in, a.mark)
		if err != nil && noShell(err) {
			return "", &closedError{reason: "the container has no shell"}
		}
		if err != nil {
			return "", err
		}
		switch word {
		case "start":
			return rest, nil
		case "none":
			if rest == "" {
				rest = "the container has no folder for programs"
			}
			return "", &closedError{reason: "there is no folder that the helper could be put into: " + strings.TrimSuffix(rest, ";")}
		case "failed":
			number, reason, _ := strings.Cut(rest, " ")
			folder, err := strconv.Atoi(number)
			if err != nil || folder <= a.from || a.from > 16 {
				return "", fmt.Errorf("the helper does not run in the container: %s", reason)
			}
			return "", &failedError{folder: folder, way: a.way, reason: reason}
		case "want":
			if err := a.send(out, helper, rest); err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("the container's shell answered %q", word)
		}
	}
}

// answer reads up to the next line that has the mark in it, and returns what
// comes behind it. What others print is passed over.
func answer(in *bufio.Reader, mark string) (word, rest string, err error) {
	for read := 0; read < noise; {
		line, err := readLine(in, noise)
		read += len(line)
		if _, said, found := bytes.Cut(line, []byte(mark+" ")); found && err == nil {
			word, rest, _ := strings.Cut(strings.TrimRight(string(said), "\r\n"), " ")
			return word, rest, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return "", "", errors.New("what was started in the container ended without an answer")
		case err != nil:
			return "", "", err
		}
	}
	return "", "", errors.New("the container prints without end")
}

// readLine reads a line, or as much of it as the bound allows.
func readLine(in *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) >= most {
			return line, err
		}
	}
}

// send sends the helper as the script can take it: "ARCH TOOL FOLDER".
func (a *attempt) send(out io.Writer, helper program.Program, wanted string) error {
	machine, rest, _ := strings.Cut(wanted, " ")
	tool, folder, _ := strings.Cut(rest, " ")
	if arch := archOf(machine); arch != "" && arch != helper.Arch {
		a.arch = arch
		return errOtherArch
	} else if arch == "" && a.arch == "" {
		return &fault.Error{Kind: fault.Preflight, Err: fmt.Errorf("the container runs on %q, for which there is no helper", machine)}
	}
	// What the container's programs can, or less where that failed before.
	way := tool
	if a.way == "shell" || a.way == "head" && tool == "gzip" {
		way = a.way
	}
	body, err := encode(helper, way)
	if err != nil {
		return err
	}
	a.way, a.sent = way, len(body)
	task := progress.Start(a.o.Sink, "sync/helper", "sending the helper to "+folder, int64(len(body)), progress.Bytes)
	_, err = io.WriteString(out, way+" "+strconv.Itoa(len(body))+"\n")
	if err == nil {
		_, err = io.Copy(out, io.TeeReader(bytes.NewReader(body), task))
	}
	task.End(err)
	return err
}

// archOf returns the GOARCH of what uname -m says.
func archOf(machine string) string {
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	default:
		return ""
	}
}

// encode returns what is sent: the program compressed, as it is, or in lines
// that the shell's printf makes the program of.
func encode(helper program.Program, way string) ([]byte, error) {
	if way == "gzip" {
		return helper.Gzip, nil
	}
	plain, err := helper.Plain()
	if err != nil || way == "head" {
		return plain, err
	}
	return lines(plain), nil
}

// lineBytes is how much of the program goes into one line.
const lineBytes = 2048

// lines writes content as formats of printf(1), one a line, with a line of a
// single dot behind them. Everything but letters is written in octal, so that
// no shell takes any of it for something else.
func lines(content []byte) []byte {
	var out bytes.Buffer
	for len(content) > 0 {
		part := content[:min(lineBytes, len(content))]
		content = content[len(part):]
		for _, b := range part {
			if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' {
				out.WriteByte(b)
			} else {
				fmt.Fprintf(&out, `\%03o`, b)
			}
		}
		out.WriteByte('\n')
	}
	out.WriteString(".\n")
	return out.Bytes()
}
