package download

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// parameter is one of a challenge (RFC 9110 §11.2): realm="https://..."
var parameter = lazyregexp.New(`([a-z]+)="([^"]*)"`)

// maxToken is more than any token has.
const maxToken = 64 << 10

// token asks for what a registry wants of everybody, also of those who have no
// account there (the Distribution project's token authentication): a token for
// reading, of a service that the refusal names. It is the value of the header
// Authorization.
func token(ctx context.Context, client http.Client, refused *http.Response) ([]string, error) {
	challenge := refused.Header.Get("WWW-Authenticate")
	said := map[string]string{}
	for _, p := range parameter.FindAllStringSubmatch(challenge, -1) {
		said[p[1]] = p[2]
	}
	service, err := url.Parse(said["realm"])
	if err != nil || service.Host == "" {
		return nil, refusal(refused)
	}
	query := service.Query()
	for _, name := range []string{"service", "scope"} {
		if said[name] != "" {
			query.Set(name, said[name])
		}
	}
	service.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, service.String(), nil)
	if err != nil {
		return nil, final{err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	var answer struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("ask %s for a token: %w", service.Host, err)
	}
	if answer.Token == "" {
		answer.Token = answer.Access
	}
	return []string{"Bearer " + answer.Token}, nil
}
