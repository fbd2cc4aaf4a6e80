package s3

import (
	"testing"
)

// TestPathStyle holds which providers want the bucket in the host's name.
func TestPathStyle(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		endpoint string
		set      *bool
		want     bool
	}{
		{"", nil, false}, {"http://127.0.0.1:7070", nil, true}, {"https://s3.example.com", nil, true}, {"https://s3.example.com", &no, false},
		{"https://s3.oss-cn-hangzhou.aliyuncs.com", nil, false}, {"https://cos.ap-beijing.myqcloud.com:443", nil, false},
		{"https://cos.ap-beijing.myqcloud.com", &yes, true}, {"https://myqcloud.com.example.com", nil, true}, {"", &yes, true},
	} {
		target, err := Open(t.Context(), Config{Bucket: "b", Endpoint: tt.endpoint, Region: "r", PathStyle: tt.set})
		if err != nil {
			t.Fatal(err)
		}
		if got := target.client.Options().UsePathStyle; got != tt.want {
			t.Errorf("endpoint %q, path_style %v: %v; want %v", tt.endpoint, tt.set, got, tt.want)
		}
	}
}
