package notice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

var snsOrigin = regexp.MustCompile(`^` + origin + `$`)

// Host is the SNS host that signs for a topic and gives out its certificate. It
// is an error where messages of that partition or region cannot be verified.
func Host(topicARN string) (string, error) {
	parts := strings.Split(topicARN, ":")
	if len(parts) < 6 {
		return "", fmt.Errorf("%.120q is no topic's ARN", topicARN)
	}
	host := "sns." + parts[3] + ".amazonaws.com"
	switch parts[1] {
	case "aws", "aws-us-gov":
	case "aws-cn":
		host += ".cn"
	default:
		return "", fmt.Errorf("messages of the partition %.40q cannot be verified", parts[1])
	}
	if !snsOrigin.MatchString("https://" + host) {
		return "", fmt.Errorf("messages of the region %.40q cannot be verified: it is not written as AWS writes regions", parts[3])
	}
	return host, nil
}

// Reach asks a host of Host for nothing in particular, over TLS as certificates
// are fetched, and returns the time by its clock, zero where it does not say.
// Whatever it answers will do: the error is that it did not.
func (v *Verifier) Reach(ctx context.Context, host string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/", nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok {
			err = whole.Err
		}
		return time.Time{}, err
	}
	defer resp.Body.Close()
	// What cannot be read of it is not missed.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, nil
	}
	return date, nil
}
