// Package certs issues serving certificates, each with an authority of its own,
// and puts the authority's certificate where the API server looks for it. It is
// pure: where the bytes are kept is stack/seed's.
package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Lifetimes. An operator that watches its own certificate may renew it when 90
// days are left; kfdev does so earlier, so that it is the one.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	servingLife   = 5 * 365 * 24 * time.Hour
	renewBefore   = 120 * 24 * time.Hour
)

// keyBits is the size of a key. Keys are RSA in PKCS #1, the one form that
// every operator which looks after its own certificate can read.
const keyBits = 2048

// The types of PEM blocks.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "RSA PRIVATE KEY"
)

// Pair is a serving certificate with its authority, each with its key, as PEM.
type Pair struct {
	Authority, AuthorityKey []byte
	Serving, ServingKey     []byte
}

// Request is what a pair is for.
type Request struct {
	Authority string   // common name of the authority, and DNS name in its certificate
	DNSNames  []string // that the serving certificate is good for; at least one
	Now       time.Time
}

// Renew returns old where it still serves the request, and otherwise a pair
// that does: with old's authority as long as that is good, so that those who
// trust it need not be told. The zero Pair is renewed whole.
func Renew(old Pair, r Request) (Pair, error) {
	if len(r.DNSNames) == 0 {
		return Pair{}, errors.New("a certificate needs a DNS name")
	}
	if Check(old, r) == nil {
		return old, nil
	}
	authority, key, err := parse(old.Authority, old.AuthorityKey)
	if err != nil || !good(authority, r.Now) || !authority.IsCA || !names(authority, r.Authority) {
		if old, authority, key, err = newAuthority(r); err != nil {
			return Pair{}, err
		}
	}
	return issue(old, authority, key, r)
}

// Check reports why the pair does not serve the request, or nil: it is whole,
// fits together, and is good for a while yet.
func Check(p Pair, r Request) error {
	authority, _, err := parse(p.Authority, p.AuthorityKey)
	if err != nil {
		return fmt.Errorf("the authority: %w", err)
	}
	serving, _, err := parse(p.Serving, p.ServingKey)
	if err != nil {
		return fmt.Errorf("the serving certificate: %w", err)
	}
	if !names(authority, r.Authority) {
		return fmt.Errorf("the authority is named %q, not %q", authority.Subject.CommonName, r.Authority)
	}
	if !good(authority, r.Now) || !good(serving, r.Now) {
		return fmt.Errorf("it is good from %s to %s only", serving.NotBefore.Format(time.DateOnly), serving.NotAfter.Format(time.DateOnly))
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, name := range r.DNSNames {
		if _, err := serving.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: r.Now}); err != nil {
			return err
		}
	}
	return nil
}

func names(authority *x509.Certificate, name string) bool {
	return authority.Subject.CommonName == name && authority.VerifyHostname(name) == nil
}

func good(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotBefore) && now.Add(renewBefore).Before(c.NotAfter)
}

func newAuthority(r Request) (Pair, *x509.Certificate, *rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	template, err := template(r.Authority, r.Now, authorityLife)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	// Operators verify the authority's own certificate as if it were a server's,
	// against a DNS name.
	template.DNSNames = []string{r.Authority}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	return Pair{Authority: encode(raw), AuthorityKey: encodeKey(key)}, certificate, key, nil
}

func issue(p Pair, authority *x509.Certificate, authorityKey *rsa.PrivateKey, r Request) (Pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return Pair{}, err
	}
	template, err := template(r.DNSNames[0], r.Now, servingLife)
	if err != nil {
		return Pair{}, err
	}
	if len(r.DNSNames[0]) > 64 { // the most that a common name may hold
		template.Subject.CommonName = r.DNSNames[0][:64]
	}
	template.DNSNames = slices.Clone(r.DNSNames)
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if template.NotAfter.After(authority.NotAfter) {
		template.NotAfter = authority.NotAfter
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return Pair{}, err
	}
	p.Serving, p.ServingKey = encode(raw), encodeKey(key)
	return p, nil
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{"kfdev"}},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(life),
	}, err
}

func encode(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: raw})
}

func encodeKey(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// parse reads a certificate and its key, and checks that they are of one pair.
func parse(certificatePEM, keyPEM []byte) (*x509.Certificate, *rsa.PrivateKey, error) {
	block, _ := pem.Decode(certificatePEM)
	if block == nil || block.Type != certificateBlock {
		return nil, nil, errors.New("there is no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	keyData, _ := pem.Decode(keyPEM)
	if keyData == nil || keyData.Type != keyBlock {
		return nil, nil, errors.New("there is no RSA key in PKCS #1")
	}
	key, err := x509.ParsePKCS1PrivateKey(keyData.Bytes)
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, errors.New("the key is not the certificate's")
	}
	return certificate, key, nil
}
