import { describe, expect, test } from 'vitest'
import { connectionFromHere } from '../../../scripts/cluster/database.ts'

const URL_IN_POD = 'postgres://booking:secret@postgres.acme:5432/booking?sslmode=verify-full&sslrootcert=/etc/fairlead/database/ca.crt'

describe('connectionFromHere()', () => {
  test('takes the authority from the Secret instead of a file, and looks for the name of the URL in the certificate', () => {
    expect(connectionFromHere(URL_IN_POD, 'PEM', '127.0.0.1:1234')).toEqual({
      connectionString: 'postgres://booking:secret@127.0.0.1:1234/booking',
      ssl: { ca: 'PEM', servername: 'postgres.acme' },
    })
    expect(connectionFromHere(URL_IN_POD, 'PEM').connectionString).toBe('postgres://booking:secret@postgres.acme:5432/booking')
  })

  test.each(['postgres://a:b@db.example.org/a?sslmode=verify-full', 'postgres://a:b@db.example.org/a'])('leaves %s as it is', url => {
    expect(connectionFromHere(url)).toEqual({ connectionString: url })
    expect(connectionFromHere(url, 'PEM')).toEqual({ connectionString: url })
  })
})
