package secret

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rule finds one kind of secret in a file's content. A match starts within a
// file's secret, and is at most overlap bytes long.
type rule struct {
	name, what string
	hints      []string // every match holds one of them, so that most files are not matched at all
	pattern    *regexp.Regexp
}

func (r rule) hinted(text []byte) bool {
	return slices.ContainsFunc(r.hints, func(hint string) bool { return bytes.Contains(text, []byte(hint)) })
}

// nameRule finds files that hold nothing but secrets, by their names.
type nameRule struct {
	name, what string
	matches    func(name string) bool
}

// harmless knows what documentation writes in place of a secret: AWS's own
// examples end in EXAMPLE or EXAMPLEKEY, and one character over and over is no
// secret of anybody's.
func (r rule) harmless(match []byte) bool {
	if bytes.Contains(match, []byte("EXAMPLE")) {
		return true
	}
	tail := match[max(0, len(match)-16):]
	return r.name != "private-key" && bytes.Count(tail, tail[:1]) == len(tail)
}

// contents are the rules about what is in files. The forms are those that the
// issuers document, or publish for secret scanning:
//   - private keys: RFC 7468, RFC 4716, OpenSSH's PROTOCOL.key, RFC 9580
//   - AWS: IAM user guide, "IAM identifiers"
//   - Google: service account keys as IAM writes them; API keys
//   - Azure: storage connection strings; client secrets hold Q~ since 2021
//   - GitHub: "Behind GitHub's new authentication token formats" (2021)
//   - GitLab, Slack, Hugging Face, OpenAI, Anthropic, npm: their token prefixes
//   - kubeconfig: client-go's clientcmd/api/v1, Config
func contents() []rule {
	return []rule{
		of("private-key", "a private key", "PRIVATE KEY", `-----BEGIN[ A-Z0-9]{0,40} ?PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|\s|[A-Za-z-]{1,30}: ?[^\n\\]{0,200})*[A-Za-z0-9+/]{20}`),
		of("aws-access-key", "the ID of an AWS access key", "AKIA|ASIA", `\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`),
		of("aws-secret-key", "an AWS secret access key", "aws|AWS|Aws", `(?i)aws_?secret_?access_?key["']?\s{0,8}[:=]\s{0,8}["']?[A-Za-z0-9/+]{40}\b`),
		of("gcp-service-account", "a key of a Google service account", "private_key_id", `"private_key_id"\s{0,8}:\s{0,8}"[0-9a-f]{40}"`),
		of("gcp-user-credentials", "a Google user's refresh token", "refresh_token", `"refresh_token"\s{0,8}:\s{0,8}"1//[0-9A-Za-z_-]{20,200}"`),
		of("google-api-key", "a Google API key", "AIza", `\bAIza[0-9A-Za-z_-]{35}\b`),
		of("azure-storage-key", "the key of an Azure storage account", "AccountKey=", `\bAccountKey=[A-Za-z0-9+/]{86}==`),
		of("azure-client-secret", "an Azure client secret", "Q~", `\b[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}`),
		of("github-token", "a GitHub token", "ghp_|gho_|ghu_|ghs_|ghr_", `\bgh[pousr]_[A-Za-z0-9]{36,251}\b`),
		of("github-fine-grained-token", "a GitHub token", "github_pat_", `\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b`),
		of("gitlab-token", "a GitLab token", "glpat-", `\bglpat-[A-Za-z0-9_-]{20,64}\b`),
		of("slack-token", "a Slack token", "xox", `\bxox[abeoprs]-(?:[0-9]-)?[0-9A-Za-z]{8,64}-[0-9A-Za-z-]{10,250}`),
		of("slack-app-token", "a Slack app's token", "xapp-", `\bxapp-[0-9]-[A-Z0-9]{8,20}-[0-9]{8,20}-[a-f0-9]{60,70}\b`),
		of("slack-webhook", "a Slack webhook", "hooks.slack.com", `hooks\.slack\.com/services/T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{24}`),
		of("huggingface-token", "a Hugging Face token", "hf_", `\bhf_[A-Za-z0-9]{34}\b`),
		of("openai-key", "an OpenAI key", "T3BlbkFJ", `\bsk-[A-Za-z0-9_-]{20,100}T3BlbkFJ[A-Za-z0-9_-]{20,100}`),
		of("anthropic-key", "an Anthropic key", "sk-ant-", `\bsk-ant-[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{80,120}`),
		of("npm-token", "an npm token", "npm_", `\bnpm_[A-Za-z0-9]{36}\b`),
		of("kubeconfig", "a kubeconfig with a client's key", "client-key-data", `client-key-data["']?\s{0,8}:\s{0,8}["']?LS0tLS1CRUdJTi[A-Za-z0-9+/]{20}`),
		of("kubeconfig-token", "a kubeconfig or a manifest with a token", "eyJ", `\btoken["']?\s{0,8}:\s{0,8}["']?eyJ[A-Za-z0-9_-]{10,400}\.eyJ[A-Za-z0-9_-]{10}`),
	}
}

// ofNPM is the rule for npm's and yarn's settings alone. A variable in the
// secret's place, ${NPM_TOKEN}, is none.
func ofNPM() rule {
	return of("npm-auth", "a registry's token or password", "_auth|_password", `(?:_authToken|_auth|_password)\s{0,8}=\s{0,8}["']?[A-Za-z0-9+/=_-]{8}`)
}

func of(name, what, hints, pattern string) rule {
	return rule{name: name, what: what, hints: strings.Split(hints, "|"), pattern: regexp.MustCompile(pattern)}
}

// names are the rules about names of files.
func names() []nameRule {
	base := func(all ...string) func(string) bool {
		return func(name string) bool { return slices.Contains(all, path.Base(name)) }
	}
	ending := func(all ...string) func(string) bool {
		return func(name string) bool {
			return slices.ContainsFunc(all, func(end string) bool { return within(name, end) })
		}
	}
	return []nameRule{
		{"env-file", "a file of environment variables", envFile},
		{"ssh-key", "an SSH key", base("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")},
		{"netrc", "passwords for hosts", base(".netrc", "_netrc")},
		{"git-credentials", "git's passwords", base(".git-credentials")},
		{"pgpass", "PostgreSQL's passwords", base(".pgpass")},
		{"pypirc", "passwords for package indexes", base(".pypirc")},
		{"credentials-file", "credentials", base("credentials.json", "application_default_credentials.json", "service-account.json")},
		{"aws-credentials", "AWS credentials", ending(".aws/credentials")},
		{"kubeconfig", "a kubeconfig", ending(".kube/config", "kubeconfig", "admin.kubeconfig")},
		{"docker-config", "passwords for registries", ending(".docker/config.json", ".dockercfg")},
		{"key-store", "a store of keys", func(name string) bool {
			return slices.Contains([]string{".p12", ".pfx", ".jks", ".kdbx"}, strings.ToLower(path.Ext(name)))
		}},
	}
}

// envFile knows .env and .env.local, and that .env.example is there to be seen.
func envFile(name string) bool {
	base := path.Base(name)
	kind, ok := strings.CutPrefix(base, ".env")
	if !ok || kind != "" && kind[0] != '.' && kind != "rc" {
		return false
	}
	return !slices.Contains([]string{".example", ".sample", ".template", ".dist", ".schema"}, kind)
}
