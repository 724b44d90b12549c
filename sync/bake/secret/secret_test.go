package secret_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdev/kfdev/sync/bake/secret"
)

// letters are n characters that no issuer gave anybody. Secrets are put
// together here, so that no scanner takes this file for what it looks for.
func letters(n int) string {
	const all = "Qw3rTy7UiOp9AsDfGhJkLzXcVbNm4Q2eW6r8TyUiOpAsDf5GhJkLzXcVbNm1QwErTyUiOp"
	return strings.Repeat(all, n/len(all)+1)[:n]
}

func upper(n int) string { return strings.Repeat("Q2WERTYUIOPA3SDFGHJKLZXC", n/24+1)[:n] }

func hexes(n int) string { return strings.Repeat("0f1e2d3c4b5a6978", n/16+1)[:n] }

func scan(name, text string) []secret.Finding {
	s := secret.New().Scanner(name)
	_, _ = s.Write([]byte(text))
	return s.Findings()
}

func TestSecretsAreFoundInTheirPlace(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"private-key":               "-----BEGIN PRIVATE" + " KEY-----\n" + letters(64),
		"aws-access-key":            "AK" + "IA" + upper(16),
		"aws-secret-key":            "aws_secret_access_key = " + letters(40),
		"gcp-service-account":       `"private_key_id": "` + hexes(40) + `"`,
		"gcp-user-credentials":      `"refresh_token": "1//` + letters(60) + `"`,
		"google-api-key":            "AI" + "za" + letters(35),
		"azure-storage-key":         "AccountKey=" + letters(86) + "==",
		"azure-client-secret":       "abc8" + "Q~" + letters(34),
		"github-token":              "gh" + "p_" + letters(36),
		"github-fine-grained-token": "github" + "_pat_" + letters(22) + "_" + letters(59),
		"gitlab-token":              "glpat" + "-" + letters(20),
		"slack-token":               "xox" + "b-123456789012-123456789012-" + letters(24),
		"slack-app-token":           "xapp" + "-1-A0123456789-1234567890123-" + hexes(64),
		"slack-webhook":             "https://hooks." + "slack.com/services/T01234567/B01234567/" + letters(24),
		"huggingface-token":         "hf" + "_" + letters(34),
		"openai-key":                "sk-" + "proj-" + letters(40) + "T3Blbk" + "FJ" + letters(40),
		"anthropic-key":             "sk-" + "ant-api03-" + letters(95),
		"npm-token":                 "npm" + "_" + letters(36),
		"kubeconfig":                "    client-key-data: LS0tLS1CRUdJTi" + letters(80),
		"kubeconfig-token":          "    token: eyJ" + letters(30) + ".eyJ" + letters(80) + "." + letters(40),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := scan("src/a.txt", "one\ntwo\nx = '"+text+"'\n")
			require.Len(t, got, 1)
			require.Equal(t, "src/a.txt", got[0].Path)
			require.Equal(t, 3, got[0].Line)
			require.Equal(t, name, got[0].Rule)
			require.NotContains(t, got[0].String(), text[len(text)-12:], "the secret itself is never told")
		})
	}
}

func TestPrivateKeysInEveryForm(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "DSA "} {
		head := "-----BEGIN " + kind + "PRIVATE" + " KEY-----"
		for name, text := range map[string]string{
			"as a file":           head + "\n" + letters(64) + "\n",
			"with Windows' lines": head + "\r\n" + letters(64),
			"in a JSON string":    `"key": "` + head + `\n` + letters(64) + `\n"`,
			"encrypted":           head + "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + letters(64),
			"indented":            "  " + head + "\n    " + letters(64),
		} {
			require.Len(t, scan("a", text), 1, kind+name)
		}
	}
	require.Len(t, scan("a", "-----BEGIN PGP PRIVATE"+" KEY BLOCK-----\nVersion: 1\n\n"+letters(64)), 1)
}

func TestWhatIsNoSecretIsNotTold(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a public key":            "-----BEGIN PUBLIC KEY-----\n" + letters(64),
		"a certificate":           "-----BEGIN CERTIFICATE-----\n" + letters(64),
		"code about keys":         `if "-----BEGIN PRIVATE` + ` KEY-----" in text: raise ValueError("a key")`,
		"AWS's example":           "AKIAIOSFODNN7EXAMPLE",
		"AWS's other example":     "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"a placeholder":           "gh" + "p_" + strings.Repeat("x", 36),
		"a word":                  "my_hf_" + letters(34) + "_and_more",
		"a hash":                  hexes(64),
		"an image in a notebook":  `"image/png": "iVBORw0KGgo` + letters(4000) + `"`,
		"an npm variable":         "//r.example.com/:_authToken=${NPM_TOKEN}",
		"a token elsewhere":       "_authToken = " + letters(20),
		"a variable of a secret":  "aws_secret_access_key = os.environ['SECRET']",
		"a kubeconfig's CA alone": "certificate-authority-data: LS0tLS1CRUdJTi" + letters(80),
	} {
		require.Empty(t, scan("src/a.py", text), name)
	}
	require.Len(t, scan(".npmrc", "//r.example.com/:_auth"+"Token="+letters(36)), 1)
	require.Empty(t, scan(".npmrc", "//r.example.com/:_authToken=${NPM_TOKEN}"))
}

func TestNamesThatSaySecret(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]string{
		".env": "env-file", "src/.env.local": "env-file", ".env.production": "env-file", ".envrc": "env-file",
		"keys/id_rsa": "ssh-key", "id_ed25519": "ssh-key", ".netrc": "netrc", "a/credentials.json": "credentials-file",
		".aws/credentials": "aws-credentials", "x/.kube/config": "kubeconfig", "kubeconfig": "kubeconfig",
		".docker/config.json": "docker-config", "a.P12": "key-store", ".git-credentials": "git-credentials", ".pypirc": "pypirc", ".pgpass": "pgpass",
	} {
		got, found := secret.New().Name(name)
		require.True(t, found, name)
		require.Equal(t, rule, got.Rule, name)
		require.Zero(t, got.Line)
	}
	for _, name := range []string{".env.example", ".env.template", ".environment", "env.py", "id_rsa.pub", "credentials.py", "config", "my-kubeconfig.md", "src/train.py"} {
		_, found := secret.New().Name(name)
		require.False(t, found, name)
	}
}

// However a file is cut into writes, and wherever in it a secret lies, also
// across the scanner's own blocks, the findings are the same.
func TestFindingsDoNotDependOnWhereAFileIsCut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	token := "gh" + "p_" + letters(36)
	for _, at := range []int{0, 100, 252<<10 - 20, 252 << 10, 256<<10 - 45, 256<<10 - 20, 256<<10 + 1, 700 << 10} {
		text := bytes.Repeat([]byte("some text\n"), 80<<10)
		text = append(append(append([]byte{}, text[:at/10*10]...), token+"\n"...), text[at/10*10:]...)
		s := secret.New().Scanner("a")
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(100_000))
			_, _ = s.Write(rest[:n])
			rest = rest[n:]
		}
		got := s.Findings()
		require.Len(t, got, 1, at)
		require.Equal(t, at/10+1, got[0].Line, at)
	}
}

func TestOfAFileFullOfSecretsEnoughAreTold(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("AKIAIOSFODNN7EXAMPLE\n", 100) + strings.Repeat("gh"+"p_"+letters(36)+"\n", 1000)
	got := scan("a", text)
	require.Len(t, got, 20)
	require.Equal(t, 101, got[0].Line)
	require.Equal(t, 120, got[19].Line)
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("-----BEGIN RSA PRIVATE"+" KEY-----\n"+letters(64)), 7)
	f.Add([]byte("gh"+"p_"+letters(36)), 1)
	f.Add([]byte("\n\n\x00\xff"), 0)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		d := secret.New()
		whole, parts := d.Scanner("a"), d.Scanner("a")
		_, _ = whole.Write(data)
		cut = min(max(cut, 0), len(data))
		_, _ = parts.Write(data[:cut])
		_, _ = parts.Write(data[cut:])
		got := whole.Findings()
		require.Equal(t, got, parts.Findings())
		for _, each := range got {
			require.GreaterOrEqual(t, bytes.Count(data, []byte("\n"))+1, each.Line)
			require.Positive(t, each.Line)
		}
	})
}
