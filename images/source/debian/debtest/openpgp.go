package debtest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // OpenPGP's fingerprints are SHA-1 (RFC 4880, 12.2)
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// OpenPGP's numbers that are used here (RFC 4880).
const (
	tagSignature = 2
	tagPublicKey = 6
	tagUserID    = 13

	textSignature = 0x01
	certification = 0x13
	algorithmRSA  = 1
	hashSHA256    = 8

	subCreated = 2
	subIssuer  = 16
	subFlags   = 27
)

// key is an OpenPGP key, enough of one for apt to verify what it signs.
type key struct {
	private *rsa.PrivateKey
	created time.Time
}

func newKey(tb testing.TB) key {
	tb.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(tb, err)
	return key{private, time.Now().Add(-time.Hour)}
}

// body is the public key packet's content.
func (k key) body() []byte {
	b := binary.BigEndian.AppendUint32([]byte{4}, uint32(k.created.Unix()))
	b = append(b, algorithmRSA)
	b = append(b, integer(k.private.N)...)
	return append(b, integer(big.NewInt(int64(k.private.E)))...)
}

// hashed is what a fingerprint, and a signature over the key, are taken of.
func (k key) hashed() []byte {
	body := k.body()
	return append(binary.BigEndian.AppendUint16([]byte{0x99}, uint16(len(body))), body...)
}

func (k key) id() []byte {
	sum := sha1.Sum(k.hashed()) //nolint:gosec // as above
	return sum[12:]
}

// public is the key with one user ID, certified by itself, as apt's
// signed-by takes it.
func (k key) public(tb testing.TB) []byte {
	tb.Helper()
	user := []byte("kfdev test archive <archive@example.invalid>")
	certified := append(binary.BigEndian.AppendUint32(append(k.hashed(), 0xb4), uint32(len(user))), user...)
	return slices.Concat(
		packet(tagPublicKey, k.body()), packet(tagUserID, user), packet(tagSignature, k.sign(tb, certification, certified)))
}

// sign is a signature packet's content over data.
func (k key) sign(tb testing.TB, kind byte, data []byte) []byte {
	tb.Helper()
	subpackets := append([]byte{5, subCreated}, binary.BigEndian.AppendUint32(nil, uint32(time.Now().Unix()))...)
	subpackets = append(subpackets, 2, subFlags, 0x03)
	head := binary.BigEndian.AppendUint16([]byte{4, kind, algorithmRSA, hashSHA256}, uint16(len(subpackets)))
	head = append(head, subpackets...)
	trailer := binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(head)))
	sum := sha256.Sum256(slices.Concat(data, head, trailer))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	require.NoError(tb, err)
	unhashed := append([]byte{9, subIssuer}, k.id()...)
	head = append(binary.BigEndian.AppendUint16(head, uint16(len(unhashed))), unhashed...)
	return slices.Concat(head, sum[:2], integer(new(big.Int).SetBytes(signature)))
}

// clearsign wraps a text in a cleartext signature (RFC 4880, 7). The text has
// no line that starts with a dash or ends in white space.
func (k key) clearsign(tb testing.TB, text string) []byte {
	tb.Helper()
	text = strings.TrimRight(text, "\n")
	signature := packet(tagSignature, k.sign(tb, textSignature, []byte(strings.ReplaceAll(text, "\n", "\r\n"))))
	var b bytes.Buffer
	fmt.Fprintf(&b, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n%s\n-----BEGIN PGP SIGNATURE-----\n\n", text)
	for encoded := base64.StdEncoding.EncodeToString(signature); encoded != ""; {
		n := min(64, len(encoded))
		b.WriteString(encoded[:n] + "\n")
		encoded = encoded[n:]
	}
	sum := crc24(signature)
	b.WriteString("=" + base64.StdEncoding.EncodeToString([]byte{byte(sum >> 16), byte(sum >> 8), byte(sum)}) + "\n-----END PGP SIGNATURE-----\n")
	return b.Bytes()
}

// packet frames content as a packet of the old format with a two-byte length.
func packet(tag byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0x80 | tag<<2 | 1}, uint16(len(content))), content...)
}

// integer is a multiprecision integer: its length in bits, then its bytes.
func integer(n *big.Int) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(n.BitLen())), n.Bytes()...)
}

// crc24 is the armour's checksum (RFC 4880, 6.1).
func crc24(data []byte) uint32 {
	sum := uint32(0xb704ce)
	for _, b := range data {
		sum ^= uint32(b) << 16
		for range 8 {
			if sum <<= 1; sum&0x1000000 != 0 {
				sum ^= 0x1864cfb
			}
		}
	}
	return sum & 0xffffff
}
