package debian

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kfdev/kfdev/images/layer"
	"github.com/kfdev/kfdev/images/recipe"
	"github.com/kfdev/kfdev/images/source"
	"github.com/kfdev/kfdev/images/source/debian/deb"
)

const (
	passwdMaster = "usr/share/base-passwd/passwd.master"
	groupMaster  = "usr/share/base-passwd/group.master"
	sysusers     = "usr/lib/sysusers.d"
	shadowGID    = 42  // the group shadow (base-passwd)
	lastSystemID = 999 // system accounts are given out from here down (Policy 9.2.2)
	firstSystem  = 100
)

// account is a line of passwd, group its like of group.
type account struct {
	name               string
	uid, gid           int
	gecos, home, shell string
}

type group struct {
	name    string
	gid     int
	members []string
}

// directory is what accounts are gathered in, in the order they are written.
type directory struct {
	users  []account
	groups []group
}

// accounts returns /etc/passwd, group, shadow and gshadow, as base-passwd's
// and systemd's programs would make them from the packages' own files (this
// layer's and those of the Debian layers below), with every password locked.
func (m *Maker) accounts(ctx context.Context, spec source.LayerSpec, u *unpacker) ([]layer.Entry, error) {
	files, err := m.accountFiles(ctx, spec, u)
	if err != nil {
		return nil, err
	}
	var d directory
	if err := d.masters(files); err != nil {
		return nil, err
	}
	var lines []sysuser
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(name, sysusers+"/") {
			continue
		}
		more, err := parseSysusers(string(files[name]))
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		lines = append(lines, more...)
	}
	if err := d.apply(lines); err != nil {
		return nil, err
	}
	return d.entries(), nil
}

// accountFiles reads what accounts are made from.
func (m *Maker) accountFiles(ctx context.Context, spec source.LayerSpec, u *unpacker) (map[string][]byte, error) {
	wanted := func(name string) bool {
		return name == passwdMaster || name == groupMaster || path.Dir(name) == sysusers && path.Ext(name) == ".conf"
	}
	files := map[string][]byte{}
	for _, in := range described(spec) {
		if err := m.pick(ctx, in, wanted, files); err != nil {
			return nil, fmt.Errorf("%s: %w", in.File, err)
		}
	}
	for name := range u.entries {
		if wanted(name) {
			text, err := u.text(name)
			if err != nil {
				return nil, err
			}
			files[name] = text
		}
	}
	return files, nil
}

// pick reads the wanted files of one package, by their merged paths.
func (m *Maker) pick(ctx context.Context, in recipe.Input, wanted func(string) bool, files map[string][]byte) error {
	r, err := m.store.Open(ctx, in.Hash)
	if err != nil {
		return err
	}
	err = deb.Walk(r, deb.Visitor{Data: func(t *tar.Reader) error {
		for {
			header, err := t.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			name, err := cleanPath(header.Name)
			if err != nil {
				return err
			}
			if name = merge(name); header.Typeflag == tar.TypeReg && wanted(name) {
				if files[name], err = io.ReadAll(t); err != nil {
					return err
				}
			}
		}
	}})
	return errors.Join(err, r.Close())
}

func (d *directory) masters(files map[string][]byte) error {
	for _, name := range []string{passwdMaster, groupMaster} {
		if _, ok := files[name]; !ok {
			return fmt.Errorf("accounts is set, but no package of this layer or one below holds /%s", name)
		}
	}
	err := eachLine(string(files[passwdMaster]), passwdMaster, 7, func(f []string, ids []int) {
		d.users = append(d.users, account{f[0], ids[0], ids[1], f[4], f[5], f[6]})
	})
	if err != nil {
		return err
	}
	return eachLine(string(files[groupMaster]), groupMaster, 4, func(f []string, ids []int) {
		g := group{name: f[0], gid: ids[0]}
		if f[3] != "" {
			g.members = strings.Split(f[3], ",")
		}
		d.groups = append(d.groups, g)
	})
}

// eachLine reads lines of colon-separated fields, whose third field, and fourth
// where there are seven, is a number.
func eachLine(text, file string, fields int, visit func(fields []string, ids []int)) error {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		f := strings.Split(line, ":")
		if len(f) != fields {
			return fmt.Errorf("/%s: %q has not %d fields", file, line, fields)
		}
		var ids []int
		for _, at := range []int{2, 3}[:1+fields/7] {
			id, err := strconv.Atoi(f[at])
			if err != nil {
				return fmt.Errorf("/%s: %q: %w", file, line, err)
			}
			ids = append(ids, id)
		}
		visit(f, ids)
	}
	return nil
}

func (d *directory) user(name string) int {
	return slices.IndexFunc(d.users, func(a account) bool { return a.name == name })
}

func (d *directory) group(name string) int {
	return slices.IndexFunc(d.groups, func(g group) bool { return g.name == name })
}

func (d *directory) addGroup(name string, gid int) {
	if d.group(name) < 0 {
		d.groups = append(d.groups, group{name: name, gid: gid})
	}
}

func (d *directory) join(user, name string) {
	i := d.group(name)
	if !slices.Contains(d.groups[i].members, user) {
		d.groups[i].members = append(d.groups[i].members, user)
	}
}

// free returns a number that neither a user nor a group has.
func (d *directory) free() (int, error) {
	for id := lastSystemID; id >= firstSystem; id-- {
		if !slices.ContainsFunc(d.users, func(a account) bool { return a.uid == id }) &&
			!slices.ContainsFunc(d.groups, func(g group) bool { return g.gid == id }) {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no system account number between %d and %d is free", firstSystem, lastSystemID)
}

func (d *directory) entries() []layer.Entry {
	var passwd, shadow, groups, gshadow strings.Builder
	for _, a := range d.users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", a.name, a.uid, a.gid, a.gecos, a.home, a.shell)
		fmt.Fprintf(&shadow, "%s:*::0:99999:7:::\n", a.name)
	}
	for _, g := range d.groups {
		members := strings.Join(g.members, ",")
		fmt.Fprintf(&groups, "%s:x:%d:%s\n", g.name, g.gid, members)
		fmt.Fprintf(&gshadow, "%s:*::%s\n", g.name, members)
	}
	out := []layer.Entry{fileEntry("etc/passwd", []byte(passwd.String())), fileEntry("etc/group", []byte(groups.String()))}
	for name, text := range map[string]string{"etc/shadow": shadow.String(), "etc/gshadow": gshadow.String()} {
		e := fileEntry(name, []byte(text))
		e.Mode, e.GID = 0o640, shadowGID
		out = append(out, e)
	}
	return out
}
