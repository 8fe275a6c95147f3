package registry

import (
	"context"
	"fmt"

	"github.com/riferrei/srclient"
)

// What follows serves people and tools, not the pipelines, and so is no part
// of [Client]. Errors are [ErrRejected] and [ErrUnreachable] throughout.

// Subjects lists all subjects.
func (c *Remote) Subjects(ctx context.Context) ([]string, error) {
	names, err := call(ctx, c, (*srclient.SchemaRegistryClient).GetSubjects)
	return names, classify(err, "listing subjects")
}

// Versions lists the version numbers of a subject.
func (c *Remote) Versions(ctx context.Context, subject string) ([]int, error) {
	versions, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) ([]int, error) {
		return sr.GetSchemaVersions(subject)
	})
	return versions, classify(err, "listing the versions of subject "+clip(subject))
}

// Version gives one version of a subject.
func (c *Remote) Version(ctx context.Context, subject string, version int) (Version, error) {
	v, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return sr.GetSchemaByVersion(subject, version)
	})
	if err != nil {
		return Version{}, classify(err, fmt.Sprintf("asking for version %d of subject %s", version, clip(subject)))
	}
	return Version{Subject: subject, Version: v.Version(), ID: v.ID(), Schema: v.Schema()}, nil
}

// LookUp gives the version under which a subject has a schema.
func (c *Remote) LookUp(ctx context.Context, subject, schema string) (Version, error) {
	v, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return sr.LookupSchema(subject, schema, srclient.Avro)
	})
	if err != nil {
		return Version{}, classify(err, "looking up a schema in subject "+clip(subject))
	}
	return Version{Subject: subject, Version: v.Version(), ID: v.ID(), Schema: v.Schema()}, nil
}

// Compatible reports whether a schema may follow the latest version of a
// subject at the subject's level.
func (c *Remote) Compatible(ctx context.Context, subject, schema string) (bool, error) {
	ok, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (bool, error) {
		return sr.IsSchemaCompatible(subject, schema, "latest", srclient.Avro)
	})
	return ok, classify(err, "checking a schema against subject "+clip(subject))
}

// Level gives the level that holds for a subject, its own or the global one.
func (c *Remote) Level(ctx context.Context, subject string) (Level, error) {
	level, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.CompatibilityLevel, error) {
		return sr.GetCompatibilityLevel(subject, true)
	})
	if err != nil {
		return "", classify(err, "asking for the level of subject "+clip(subject))
	}
	return Level(*level), nil
}

// SetLevel gives a subject a level of its own.
func (c *Remote) SetLevel(ctx context.Context, subject string, level Level) error {
	_, err := call(ctx, c, func(sr *srclient.SchemaRegistryClient) (*srclient.CompatibilityLevel, error) {
		return sr.ChangeSubjectCompatibilityLevel(subject, srclient.CompatibilityLevel(level))
	})
	return classify(err, "setting the level of subject "+clip(subject))
}
