package s3probe

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/regctl-setup/regctl-setup/internal/secret"
)

// FromParameters reads the settings from the s3 section of a registry's storage, with the
// names and defaults of the registry's driver. All faults are returned at once.
func FromParameters(parameters map[string]any) (Settings, error) {
	var errs []error
	text := func(key string) string {
		v, ok := parameters[key]
		if !ok || v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	flag := func(key string, def bool) bool {
		switch v := parameters[key].(type) {
		case nil:
			return def
		case bool:
			return v
		default:
			b, err := strconv.ParseBool(fmt.Sprint(v))
			if err != nil {
				errs = append(errs, fmt.Errorf("storage.s3.%s: %q is neither true nor false", key, fmt.Sprint(v)))
			}
			return b
		}
	}
	s := Settings{
		Bucket: text("bucket"), Region: text("region"), Endpoint: text("regionendpoint"),
		PathStyle: flag("forcepathstyle", false), PlainHTTP: !flag("secure", true), SkipVerify: flag("skipverify", false),
		Encrypt: flag("encrypt", false), KeyID: text("keyid"), RootDirectory: text("rootdirectory"), StorageClass: text("storageclass"),
		Accelerate: flag("accelerate", false), DualStack: flag("usedualstack", false), FIPS: flag("usefipsendpoint", false),
		AccessKey: secret.New(text("accesskey")), SecretKey: secret.New(text("secretkey")), SessionToken: secret.New(text("sessiontoken")),
		Redirect: true,
	}
	if s.Bucket == "" {
		errs = append(errs, errors.New("storage.s3.bucket: missing"))
	}
	if s.Region == "" {
		errs = append(errs, errors.New("storage.s3.region: missing"))
	}
	if !flag("v4auth", true) {
		errs = append(errs, errors.New("storage.s3.v4auth: signatures of version 2 are not tried here; services have given them up"))
	}
	return s, errors.Join(errs...)
}
