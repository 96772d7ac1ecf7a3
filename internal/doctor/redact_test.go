package doctor

import (
	"encoding/json"
	"strings"
	"testing"
)

const redactedID = "33333333-0000-4000-8000-00000000000A"

func TestRedactText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"the webhook serves on :9443", "the webhook serves on :9443"},
		{"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-_x, again", "token [removed], again"},
		{"cut off: eyJhbGci", "cut off: [removed]"},
		{"Authorization: Bearer abc.def", "Authorization: Bearer [removed]"},
		{"AZURE_CLIENT_SECRET=s3cret AZURE_TENANT_ID=t", "AZURE_CLIENT_SECRET=[removed] AZURE_TENANT_ID=t"},
		{"DB_PASSWORD: s3cret", "DB_PASSWORD: [removed]"},
		{`level=INFO token="a b" pod=x`, `level=INFO token=[removed] pod=x`},
		{"client_id=x&client_secret=s3cret&scope=y", "client_id=x&client_secret=[removed]&scope=y"},
		{`{"client_secret": "s3\"cret", "scope": "y"}`, `{"client_secret": "[removed]", "scope": "y"}`},
		{`{"msg":"{\"access_token\":\"s3cret\"}"}`, `{"msg":"{\"access_token\":\"[removed]"}`}, // rather too much
		{`[{"name":"DB_PASSWORD","value":"s3cret"},{"name":"A","value":"b"}]`, `[{"name":"DB_PASSWORD","value":"[removed]"},{"name":"A","value":"b"}]`},
		{`failed for volume "azure-identity-token" : not found`, `failed for volume "azure-identity-token" : not found`},
		{"client " + redactedID, "client " + redactedID},
	} {
		if got := newRedactor(false).text(test.in); got != test.want {
			t.Errorf("%s: %s, want %s", test.in, got, test.want)
		}
	}
	ids := newRedactor(true)
	const other = "44444444-0000-4000-8000-000000000001"
	for _, test := range []struct{ in, want string }{
		{redactedID + "," + other, "id-1,id-2"},
		{"/subscriptions/" + other + "/x " + strings.ToLower(redactedID), "/subscriptions/id-2/x id-1"},
		{redactedID[:35], redactedID[:35]},
	} {
		if got := ids.text(test.in); got != test.want {
			t.Errorf("%s: %s, want %s", test.in, got, test.want)
		}
	}
}

func TestRedactValue(t *testing.T) {
	t.Parallel()
	const in = `{"containers":[{"env":[{"name":"API_TOKEN","value":"s3cret"},{"name":"A","value":"b"},` +
		`{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"key":"k","name":"db"}}}]}],"count":2,"` + redactedID + `":["eyJhbGciOiJub25lIn0"]}`
	const want = `{"containers":[{"env":[{"name":"API_TOKEN","value":"[removed]"},{"name":"A","value":"b"},` +
		`{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"key":"k","name":"db"}}}]}],"count":2,"id-1":["[removed]"]}`
	var v any
	if err := json.Unmarshal([]byte(in), &v); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(newRedactor(true).value(v))
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// FuzzRedact: whatever is around them, no token, no secret and, if asked, no GUID is left.
func FuzzRedact(f *testing.F) {
	f.Add("before", "after", true)
	f.Add(`"token":"`, `"`, false)
	f.Add(redactedID[:20], "eyJ", true)
	f.Add("00000001-0000-0000-0000-0000000000001", "2345678-0000-0000-0000-000000000001", true)
	const secret = "5up3r-5ecr3t"
	forms := []string{
		"AZURE_CLIENT_SECRET=" + secret, "DB_PASSWORD: " + secret, `"client_secret":"` + secret + `"`, "access_token=" + secret + "&x=y",
		`{"name":"API_TOKEN","value":"` + secret + `"}`, "Authorization: Bearer " + secret,
	}
	f.Fuzz(func(t *testing.T, before, after string, redactIDs bool) {
		if strings.Contains(before+after, secret) {
			return
		}
		r := newRedactor(redactIDs)
		for _, form := range forms {
			in := before + "\n" + form + "\n" + after
			checkRedacted(t, r, in, r.text(in), secret)
			raw, err := json.Marshal(r.value(object{before: []any{in}, after: object{"name": form[:9] + "TOKEN", "value": secret}}))
			if err != nil {
				t.Fatal(err)
			}
			checkRedacted(t, r, in, string(raw), secret)
		}
		in := before + redactedID + after + "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln" + before
		checkRedacted(t, r, in, r.text(in), secret)
	})
}

func checkRedacted(t *testing.T, r *redactor, in, out, secret string) {
	t.Helper()
	if strings.Contains(out, "eyJ") || strings.Contains(out, secret) || r.ids != nil && r.guids.MatchString(out) {
		t.Errorf("%q\nleaves\n%q", in, out)
	}
}
