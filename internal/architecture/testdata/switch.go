package install

// try brings the new engine up for the namespace of the probes alone, and keeps the
// old one out of it, so that a pod that is injected there was injected by the new
// one. Everywhere else the old engine goes on, whatever comes of it.
func (p *plan) try(ctx, waiting context.Context) (err error) {
	if err := p.applyObject(ctx, p.objects[1]); err != nil {
		return err
	}
	p.config.Report(fmt.Sprintf("trying the %s in namespace %s, where the %s keeps out", p.engine, p.probe, p.found.Engine))
	for _, s := range selectors(p.found.Engine) {
		undo, err := p.cluster.exclude(ctx, s, p.probe)
		if err != nil {
			return fmt.Errorf("keep %s out of namespace %s: %w", s.path, p.probe, err)
		}
		defer func() {
			if err != nil { // else the old engine is removed
				undo(context.WithoutCancel(ctx))
			}
		}()
	}
	if err := p.cluster.waitNotInjected(waiting, p.probe); err != nil {
		return err
	}
	for _, o := range p.objects[1:] {
		if err := p.applyObject(ctx, restricted(o, p.probe)); err != nil {
			return err
		}
	}
	return p.prove(waiting)
}
