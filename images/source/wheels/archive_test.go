package wheels

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// archiveOf reads a zip as the maker does.
func archiveOf(data []byte) (*archive, error) {
	members, err := readDirectory(bytes.NewReader(data), int64(len(data)))
	return &archive{file: "x.whl", members: members, open: func() (io.ReadSeekCloser, error) {
		return nopCloser{bytes.NewReader(data)}, nil
	}}, err
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func TestReadDirectoryRefuses(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]file{
		"a way up":        {{name: "../x"}},
		"a way up inside": {{name: "a/../../x"}},
		"an absolute":     {{name: "/etc/passwd"}},
		"a backslash":     {{name: `a\b`}},
		"a null":          {{name: "a\x00b"}},
		"a newline":       {{name: "a\nb"}},
		"an empty name":   {{name: ""}},
		"a dot":           {{name: "./a"}},
		"a symlink":       {{name: "a", mode: fs.ModeSymlink | 0o777, text: "/etc"}},
		"a device":        {{name: "a", mode: fs.ModeDevice | 0o600}},
		"a name twice":    {{name: "a"}, {name: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := archiveOf(zipOf(t, files...))
			require.Error(t, err)
		})
	}
	_, err := archiveOf([]byte("not a zip"))
	require.ErrorIs(t, err, zip.ErrFormat)
	a, err := archiveOf(zipOf(t, file{name: "a/"}, file{name: "a/b", text: "b"}))
	require.NoError(t, err)
	require.Len(t, a.members, 1)
}

func TestContentIsCheckedAsItIsRead(t *testing.T) {
	t.Parallel()
	text := "a text that is long enough to be deflated, deflated, deflated"
	data := zipOf(t, file{name: "a", text: text}, file{name: "s", text: "stored"})
	a, err := archiveOf(data)
	require.NoError(t, err)
	for i, want := range []string{text, "stored"} {
		got, err := a.text(a.members[i])
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	for name, change := range map[string]func(*member){
		"another sum":  func(m *member) { m.crc++ },
		"too short":    func(m *member) { m.size++ },
		"too long":     func(m *member) { m.size-- },
		"cut":          func(m *member) { m.packed /= 2 },
		"moved":        func(m *member) { m.offset++ },
		"out of reach": func(m *member) { m.offset = int64(len(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range a.members {
				change(&m)
				_, err := a.text(m)
				require.Error(t, err, m.name)
			}
		})
	}
	_, err = a.text(member{name: "big", size: maxText + 1})
	require.ErrorContains(t, err, "more than")
}

func TestReadDirectoryRefusesABomb(t *testing.T) {
	t.Parallel()
	data := zipOf(t, file{name: "a", text: "a text that is long enough to be deflated"})
	// The sizes in the directory say more than is ever taken.
	directory := bytes.Index(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[directory+24:], 1<<32-2)
	many := bytes.Repeat(data[directory:bytes.Index(data, []byte("PK\x05\x06"))], 4)
	for i := range 4 {
		many[i*len(many)/4+46] = byte('a' + i) // the name
	}
	end := append([]byte(nil), data[bytes.Index(data, []byte("PK\x05\x06")):]...)
	binary.LittleEndian.PutUint16(end[8:], 4)
	binary.LittleEndian.PutUint16(end[10:], 4)
	binary.LittleEndian.PutUint32(end[12:], uint32(len(many)))
	_, err := archiveOf(append(append(data[:directory:directory], many...), end...))
	require.ErrorContains(t, err, "unpacks to more than")
}

func FuzzArchive(f *testing.F) {
	f.Add(zipOf(f, file{name: "a/b", text: "b"}, file{name: "c", text: "a text that is long enough to be deflated"}))
	f.Add(zipOf(f, file{name: "x-1.dist-info/WHEEL", text: "Wheel-Version: 1.0\n"}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := archiveOf(data)
		if err != nil {
			return
		}
		for _, m := range a.members {
			require.True(t, fs.ValidPath(m.name), m.name)
			if text, err := a.text(m); err == nil {
				require.Len(t, text, int(m.size))
			}
		}
	})
}
